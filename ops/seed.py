"""Development data: the people, lists and products of the spec's HTTP traces (DESIGN 9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import asyncpg

from schemas.ids import NAMESPACE

LISTED_AT = datetime(2025, 8, 20, 14, 30, tzinfo=UTC)
CDN = "https://cdn.vantage.com/products"

PRODUCTS: tuple[tuple[str, str, str, bool], ...] = (
    ("prod_1a2b3c", "Wireless Noise-Canceling Headphones", "249.99", True),
    ("prod_4d5e6f", "Smart Watch Series 9", "399.00", True),
    ("prod_7g8h9i", "Cashmere Scarf — Navy", "89.50", True),
    ("prod_0j1k2l", "Leather Journal — Embossed", "45.00", False),
    ("prod_3m4n5o", "Espresso Machine Pro", "599.00", True),
    ("prod_6p7q8r", "Running Shoes — Cloud Foam", "129.99", True),
    ("prod_9s0t1u", "Board Game Collection Box", "64.99", True),
    ("prod_abc123", "Silk Pillowcase Set", "59.00", True),
    ("prod_removed", "Desk Lamp", "39.00", True),
    ("prod_ki001", "Cast Iron Skillet 12in", "34.99", True),
    ("prod_ki002", "Chef Knife Set", "189.00", True),
    ("prod_ki003", "Stand Mixer Pro", "449.00", True),
    ("prod_ki004", "Bamboo Cutting Board", "29.99", True),
)
USERS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("user_maya", "Maya C.", "America/New_York", []),
    ("user_recipient", "Robin R.", "Europe/Berlin", []),
    ("user_other", "Alex T.", "Europe/London", []),
    ("user_new", "Noor N.", "Asia/Dubai", []),
    ("user_analyst", "Lisa P.", "America/Los_Angeles", ["analyst"]),
)
WISHLISTS = (
    ("wl_8a2b3c4d5e6f", "user_maya", "Holiday Gift Ideas 2025"),
    ("wl_recipient_001", "user_recipient", "Robin's Wishlist"),
    ("wl_other_user_list", "user_other", "Kitchen Essentials"),
)
# The seven of the look-up trace, the one hidden at creation, and the one that is removed before the list is viewed.
MAYAS_ITEMS = (
    *((f"item_{product[5:]}", product) for product, *_ in PRODUCTS[:7]),
    ("item_abc123", "prod_abc123"),
    ("item_removed", "prod_removed"),
)
KITCHEN_ITEMS = tuple((f"item_ki00{n}", f"prod_ki00{n}") for n in range(1, 5))


def key_of(public_id: str) -> UUID:
    """The UUID key that development data gives to a public id."""
    return uuid5(NAMESPACE, f"seed:{public_id}")


async def seed(connection: asyncpg.Connection) -> None:
    """Write the development data; what is there already stays as it is, and who was erased stays away."""
    async with connection.transaction():
        removed = {row["user_id"] for row in await connection.fetch("SELECT user_id FROM removed_users")}
        people = [user for user in USERS if key_of(user[0]) not in removed]
        lists = [list_ for list_ in WISHLISTS if key_of(list_[1]) not in removed]
        await connection.executemany(
            "INSERT INTO users (id, public_id, display_name, time_zone, roles) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            [(key_of(user), user, name, zone, roles) for user, name, zone, roles in people],
        )
        await connection.executemany(
            "INSERT INTO products (id, name, price, image_url, in_stock) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            [(id_, name, Decimal(price), f"{CDN}/{id_}/thumb.jpg", stock) for id_, name, price, stock in PRODUCTS],
        )
        await connection.executemany(
            "INSERT INTO wishlists (id, public_id, owner_id, title, created_at) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            [(key_of(list_), list_, key_of(owner), title, LISTED_AT) for list_, owner, title in lists],
        )
        for list_, items in (("wl_8a2b3c4d5e6f", MAYAS_ITEMS), ("wl_other_user_list", KITCHEN_ITEMS)):
            if list_ not in {name for name, *_ in lists}:
                continue
            await connection.executemany(
                "INSERT INTO wishlist_items (id, public_id, wishlist_id, product_id, added_at) "
                "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                [
                    (key_of(item), item, key_of(list_), product, LISTED_AT + timedelta(minutes=n))
                    for n, (item, product) in enumerate(items)
                ],
            )
