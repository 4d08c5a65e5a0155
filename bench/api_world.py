"""Who asks for what in ``bench/api.py``: owners, recipients and shares of its own, so many that no limit bites."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.open_loop import head
from config.settings import AuthSettings

OWNERS, RECIPIENTS, SHARES = 4_000, 1_000, 200
ITEMS = 8
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/117.0 Safari/537.36"

_PEOPLE = """
INSERT INTO users (public_id, display_name)
SELECT $1 || '_user_' || n, 'Maya ' || n FROM generate_series(0, $2::int - 1) n
"""
_LISTS = """
INSERT INTO wishlists (public_id, owner_id, title)
SELECT replace(public_id, '_user_', '_list_'), id, 'Holiday Gift Ideas ' || public_id FROM users
WHERE public_id LIKE $1 || '\\_user\\_%'
"""
_ITEMS = """
INSERT INTO wishlist_items (public_id, wishlist_id, product_id)
SELECT w.public_id || '_' || p.id, w.id, p.id
FROM wishlists w, (SELECT id FROM products ORDER BY id LIMIT $2) p
WHERE w.public_id LIKE $1 || '\\_list\\_%' AND split_part(w.public_id, '_list_', 2)::int < $3
"""


@dataclass(frozen=True)
class World:
    """Users ``{name}_user_N`` with lists ``{name}_list_N``: owners first, then recipients, whose lists are empty."""

    name: str
    authorization: list[str]
    products: list[str]
    shares: list[str]

    def creates(self) -> Iterator[bytes]:
        """``POST …/share``, one owner after the other."""
        body = json.dumps({"channel": "copy_link", "expires_in_days": 30}).encode()
        for owner in itertools.cycle(range(SHARES, OWNERS)):
            path = f"/api/v2/wishlists/{self.name}_list_{owner}/share"
            yield head("POST", path, self._headers(owner), body)

    def pages(self) -> Iterator[bytes]:
        """The shared page, as a browser that is not signed in."""
        return (head("GET", f"/wishlists/shared/{share}", self._headers()) for share in self._any_share())

    def look_ups(self) -> Iterator[bytes]:
        """The shared list as JSON; each is a view."""
        return (head("GET", f"/api/v2/wishlists/shared/{share}", self._headers()) for share in self._any_share())

    def adds(self) -> Iterator[bytes]:
        """``POST …/my/items``; never the same item of the same share for the same recipient twice."""
        for product, share in itertools.product(self.products, self.shares):
            for recipient in range(OWNERS, OWNERS + RECIPIENTS):
                wanted = {"product_id": product, "source": "shared_wishlist", "source_token": share}
                yield head("POST", "/api/v2/wishlists/my/items", self._headers(recipient), json.dumps(wanted).encode())

    def renders(self) -> Iterator[bytes]:
        """``POST /render`` (spec, trace req_ogr_001), each with a title of its own so that no cache answers."""
        things = ["Wireless Headphones", "Smart Watch", "Cashmere Scarf", "Espresso Machine"]
        items = [
            {"name": thing, "image": f"https://cdn.vantage.com/products/{product}/thumb.jpg", "price": "$249.99"}
            for thing, product in zip(things, self.products, strict=False)
        ]
        for number in itertools.count():
            data = {"wishlist_title": f"{self.name} {number}", "owner_name": "Maya C.", "items": items, "item_count": 7}
            yield head("POST", "/render", {}, json.dumps({"template": "wishlist-share", "data": data}).encode())

    def _any_share(self) -> Iterator[str]:
        dice = random.Random(2)
        while True:
            yield dice.choice(self.shares)

    def _headers(self, user: int | None = None) -> dict[str, str]:
        address = ".".join(str(random.randrange(1, 255)) for _ in range(3))
        headers = {"User-Agent": BROWSER, "X-Forwarded-For": f"10.{address}", "CF-IPCountry": "US"}
        return headers if user is None else {**headers, "Authorization": self.authorization[user]}


async def make(dsn: str, api: str) -> World:
    """Write users and lists into PostgreSQL, mint their tokens, and make the shares through the API."""
    name = f"bench{uuid4().hex[:8]}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_PEOPLE, name, OWNERS + RECIPIENTS)
        await connection.execute(_LISTS, name)
        await connection.execute(_ITEMS, name, ITEMS, OWNERS)
        await connection.execute("ANALYZE users, wishlists, wishlist_items")
        products = [row["id"] for row in await connection.fetch("SELECT id FROM products ORDER BY id LIMIT $1", ITEMS)]
        authorization = await asyncio.to_thread(_tokens, name)
        shares = await _share(api, name, authorization)
        applied = "SELECT count(*) FROM wishlist_shares WHERE share_token = ANY($1::text[])"
        while await connection.fetchval(applied, shares) < len(shares):  # noqa: ASYNC110  # another process writes
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    return World(name, authorization, products, shares)


def _tokens(name: str) -> list[str]:
    settings = AuthSettings()
    assert settings.private_key_file, "JWT_PRIVATE_KEY_FILE is not set: ./run up makes a development key"
    key = load_pem_private_key(Path(settings.private_key_file).read_bytes(), None)
    now = int(time.time())
    claims = {"iss": settings.issuer, "aud": settings.audience, "iat": now, "exp": now + 6 * 3_600}
    return [
        "Bearer " + jwt.encode({**claims, "sub": f"{name}_user_{number}"}, key, algorithm="RS256")  # type: ignore[arg-type]
        for number in range(OWNERS + RECIPIENTS)
    ]


async def _share(api: str, name: str, authorization: list[str]) -> list[str]:
    async with httpx.AsyncClient(base_url=api, timeout=30) as client:
        shares = []
        for owner in range(SHARES):
            answer = await client.post(
                f"/api/v2/wishlists/{name}_list_{owner}/share",
                json={"channel": "copy_link", "expires_in_days": None},
                headers={"Authorization": authorization[owner]},
            )
            answer.raise_for_status()
            shares.append(str(answer.json()["share_token"]))
    return shares
