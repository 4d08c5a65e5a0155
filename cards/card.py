"""From a request to what the page is told, and to the key that equal cards share."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from cards.data import SHOWN_ITEMS, CardData

THEMES = ("pine", "midnight", "wine", "lagoon", "plum", "clay")


def cache_key(template_version: str, data: CardData) -> str:
    """32 hex digits of SHA-256 over the template's version and everything that is drawn (as long as the spec's)."""
    drawn = data.model_copy(update={"items": data.items[:SHOWN_ITEMS]}).model_dump(mode="json")
    content = orjson.dumps([template_version, drawn], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:32]


def theme_of(data: CardData) -> str:
    """The card's colours: chosen by list and owner, so that a list keeps its own when its items change."""
    digest = hashlib.sha256(f"{data.owner_name}\0{data.wishlist_title}".encode()).digest()
    return THEMES[digest[0] % len(THEMES)]


def page_data(data: CardData, pictures: list[str | None]) -> dict[str, Any]:
    """The argument of the page's ``showCard``; *pictures* are the shown items' data URIs, None where there is none."""
    return {
        "theme": theme_of(data),
        "title": data.wishlist_title,
        "owner": data.owner_name,
        "count": data.item_count,
        "items": [
            {"name": item.name, "price": item.price, "image": picture}
            for item, picture in zip(data.items[:SHOWN_ITEMS], pictures, strict=True)
        ],
    }


GENERIC_CARD: dict[str, Any] = {"generic": True, "theme": THEMES[0], "items": [], "count": 0, "owner": "", "title": ""}
