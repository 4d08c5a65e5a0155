"""Simulated people, wishlists and products, and how they get into PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import asyncpg

from schemas.ids import NAMESPACE

# Country: share of people in percent, time zone, hours before or after UTC.
COUNTRIES: dict[str, tuple[int, str, int]] = {
    "US": (44, "America/New_York", -5),
    "GB": (11, "Europe/London", 0),
    "DE": (8, "Europe/Berlin", 1),
    "CA": (7, "America/Toronto", -5),
    "FR": (6, "Europe/Paris", 1),
    "AU": (5, "Australia/Sydney", 10),
    "NL": (4, "Europe/Amsterdam", 1),
    "ES": (4, "Europe/Madrid", 1),
    "IN": (4, "Asia/Kolkata", 5),
    "BR": (3, "America/Sao_Paulo", -3),
    "JP": (2, "Asia/Tokyo", 9),
    "SE": (2, "Europe/Stockholm", 1),
}
VARIANTS = ("control", "control", "variant-a", "variant-b")  # 50, 25 and 25 % (spec, "LaunchDarkly Configuration")
_EVENTS_PER_PERSON = 12
_FEWEST_PEOPLE = 60
_OWNERS = 0.6
_ROWS_AT_ONCE = 20_000
_PRODUCT_COUNT = 240
_FIRST_NAMES = (
    "Ada", "Amir", "Anna", "Ben", "Carla", "Chidi", "Clara", "David", "Elif", "Emma", "Farah", "Felix",
    "Grace", "Hana", "Hugo", "Ines", "Isaac", "Jonas", "Julia", "Kenji", "Lea", "Liam", "Luca", "Maja",
    "Mateo", "Mia", "Nia", "Noah", "Olga", "Omar", "Priya", "Rosa", "Sam", "Sofia", "Tariq", "Theo",
    "Uma", "Vera", "Yusuf", "Zoe",
)  # fmt: skip
_TITLES = (
    "Holiday Gift Ideas", "Birthday Wishes", "Kitchen Upgrade", "New Apartment", "Wedding Registry", "Baby Shower",
    "Reading Corner", "Marathon Training", "Camping Summer", "Home Office", "For the Garden", "Someday",
)  # fmt: skip
_KINDS = (
    "Headphones", "Desk Lamp", "Cashmere Scarf", "Espresso Cups", "Running Shoes", "Board Game", "Chef Knife",
    "Throw Blanket", "Backpack", "Water Bottle", "Notebook", "Wireless Charger", "Cookbook", "Yoga Mat", "Tea Kettle",
    "Table Clock", "Puzzle", "Raincoat", "Sketch Set", "Bike Light", "Wool Socks", "Plant Pot", "Speaker", "Wallet",
)  # fmt: skip
_STYLES = ("Nordic", "Classic", "Everyday", "Studio", "Heritage", "Compact", "Deluxe", "Travel", "Organic", "Midnight")


@dataclass(frozen=True, slots=True)
class Product:
    """Something that can be wished for."""

    id: str
    name: str
    price: Decimal
    in_stock: bool


@dataclass(frozen=True, slots=True)
class Item:
    """A product on a list."""

    id: UUID
    public_id: str
    product_id: str


@dataclass(frozen=True, slots=True)
class Wishlist:
    """A person's list."""

    id: UUID
    public_id: str
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the shop; some have a list."""

    id: UUID
    public_id: str
    name: str
    country: str
    variant: str
    wishlist: Wishlist | None


@dataclass(frozen=True)
class World:
    """Everybody and everything. ``owners`` have a list, ``newcomers`` none."""

    owners: list[Person]
    newcomers: list[Person]
    products: list[Product]


def catalogue() -> list[Product]:
    """The simulated products: the same for every seed, most wished for first."""
    dice = random.Random("catalogue")
    names = [f"{style} {kind}" for style in _STYLES for kind in _KINDS][:_PRODUCT_COUNT]
    dice.shuffle(names)
    return [
        Product(f"prod_sim{n:03d}", name, Decimal(round(dice.lognormvariate(4, 0.8))) + Decimal("0.99"), n % 11 != 7)
        for n, name in enumerate(names)
    ]


def make(seed: int, events: int) -> World:
    """The people of *seed*, as many as *events* need; fewer events need the first of the same people."""
    products = catalogue()
    popularity = [1 / (n + 3) for n in range(len(products))]
    countries, weights = list(COUNTRIES), [share for share, _, _ in COUNTRIES.values()]
    owners: list[Person] = []
    newcomers: list[Person] = []
    for number in range(max(_FEWEST_PEOPLE, events // _EVENTS_PER_PERSON)):
        dice = random.Random(f"{seed}:person:{number}")
        name = f"{dice.choice(_FIRST_NAMES)} {chr(ord('A') + dice.randrange(26))}."
        country = dice.choices(countries, weights)[0]
        wishlist = _wishlist(seed, number, dice, products, popularity) if dice.random() < _OWNERS else None
        person = Person(
            id=_key(seed, f"user:{number}"),
            public_id=f"user_sim{seed}_{number}",
            name=name,
            country=country,
            variant=dice.choice(VARIANTS),
            wishlist=wishlist,
        )
        (owners if wishlist else newcomers).append(person)
    return World(owners, newcomers, products)


def _wishlist(
    seed: int, person: int, dice: random.Random, products: Sequence[Product], popularity: Sequence[float]
) -> Wishlist:
    size = min(24, 3 + int(dice.expovariate(1 / 4)))
    chosen = dict.fromkeys(product.id for product in dice.choices(products, popularity, k=size))
    items = tuple(
        Item(_key(seed, f"item:{person}:{n}"), f"item_sim{seed}_{person}_{n}", product)
        for n, product in enumerate(chosen)
    )
    return Wishlist(_key(seed, f"list:{person}"), f"wl_sim{seed}_{person}", dice.choice(_TITLES), items)


def _key(seed: int, what: str) -> UUID:
    return uuid5(NAMESPACE, f"simulation:{seed}:{what}")


async def write(connection: asyncpg.Connection, world: World, before: datetime) -> None:
    """Write the world into PostgreSQL; what is there already stays. People joined in the year *before*."""
    joined = before.astimezone(UTC) - timedelta(days=365)
    people = [*world.owners, *world.newcomers]
    lists = [(person, person.wishlist) for person in world.owners if person.wishlist]
    items = [
        (item, wishlist, joined + timedelta(days=30, minutes=n))
        for _, wishlist in lists
        for n, item in enumerate(wishlist.items)
    ]
    async with connection.transaction():
        await _insert(
            connection,
            """INSERT INTO users (id, public_id, display_name, country, time_zone, created_at)
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
               ON CONFLICT DO NOTHING""",
            [(p.id, p.public_id, p.name, p.country, COUNTRIES[p.country][1], joined) for p in people],
        )
        await _insert(
            connection,
            """INSERT INTO products (id, name, price, image_url, in_stock)
               SELECT * FROM unnest($1::text[], $2::text[], $3::numeric[], $4::text[], $5::boolean[])
               ON CONFLICT DO NOTHING""",
            [
                (p.id, p.name, p.price, f"https://cdn.vantage.com/products/{p.id}/thumb.jpg", p.in_stock)
                for p in world.products
            ],
        )
        await _insert(
            connection,
            """INSERT INTO wishlists (id, public_id, owner_id, title, created_at)
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[])
               ON CONFLICT DO NOTHING""",
            [(w.id, w.public_id, p.id, w.title, joined + timedelta(days=30)) for p, w in lists],
        )
        await _insert(
            connection,
            """INSERT INTO wishlist_items (id, public_id, wishlist_id, product_id, added_at)
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[])
               ON CONFLICT DO NOTHING""",
            [(i.id, i.public_id, w.id, i.product_id, added) for i, w, added in items],
        )


async def _insert(connection: asyncpg.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        await connection.execute(sql, *map(list, zip(*rows[start : start + _ROWS_AT_ONCE], strict=True)))
