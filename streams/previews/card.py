"""What a share's card says, read when the card is drawn."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg

from cards.data import LONGEST_URL, SHOWN_ITEMS

_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
_CARD = """
    SELECT w.title, u.display_name, count(*) OVER () AS item_count, p.name, p.price, p.currency, p.image_url
    FROM wishlists w
    JOIN users u ON u.id = w.owner_id
    LEFT JOIN wishlist_items i ON i.wishlist_id = w.id AND i.removed_at IS NULL
    LEFT JOIN share_item_visibility v ON v.share_id = $2 AND v.item_id = i.id
    LEFT JOIN products p ON p.id = i.product_id
    WHERE w.id = $1 AND i.id IS NOT NULL AND coalesce(v.visible, TRUE)
    ORDER BY i.added_at, i.id LIMIT $3"""


async def card_of(pool: asyncpg.Pool, share_id: UUID, wishlist_id: UUID) -> dict[str, Any]:
    """The ``data`` of ``POST /render`` (spec, "Internal HTTP Traces — OG Renderer Service"): what this share shows."""
    rows = await pool.fetch(_CARD, wishlist_id, share_id, SHOWN_ITEMS)
    if rows:
        title, owner, count = rows[0]["title"], rows[0]["display_name"], rows[0]["item_count"]
    else:
        head = await pool.fetchrow(
            "SELECT title, display_name FROM wishlists w JOIN users u ON u.id = w.owner_id WHERE w.id = $1", wishlist_id
        )
        title, owner, count = (head["title"], head["display_name"], 0) if head else ("Wishlist", "", 0)
    return {
        "wishlist_title": title,
        "owner_name": owner,
        "items": [{"name": row["name"], "image": _image(row), "price": _price(row)} for row in rows],
        "item_count": count,
    }


def _image(row: Any) -> str:
    # A picture written into its URL would make the request too long for the renderer to read any of it.
    url: str = row["image_url"] or ""
    return url if len(url) <= LONGEST_URL else ""


def _price(row: Any) -> str:
    symbol = _SYMBOLS.get(row["currency"])
    return f"{symbol}{row['price']:,.2f}" if symbol else f"{row['price']:,.2f} {row['currency']}"
