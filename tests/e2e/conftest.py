"""The running product, seen from outside: its addresses come from ``./run status --json``, its users sign in by
``./run wishlist token``. Nothing of the product is imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = os.environ.get("WISHLIST_RUN", str(ROOT / "run"))
STATE = Path(os.environ.get("WISHLIST_STATE", ROOT / ".state"))
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/117.0 Safari/537.36"
# The look-up trace's products in its order, the one hidden at creation, and the one removed before the list is viewed.
SEEN = ("1a2b3c", "4d5e6f", "7g8h9i", "0j1k2l", "3m4n5o", "6p7q8r", "9s0t1u")
PRODUCTS = (*(f"prod_{suffix}" for suffix in SEEN), "prod_abc123", "prod_removed")


def _run(*arguments: str, expected: frozenset[int] = frozenset({0})) -> str:
    done = subprocess.run([RUN, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode in expected, f"./run {' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Owner:
    """Somebody with a list like the spec's: ``items`` maps product ids to item ids."""

    user: str
    wishlist: str
    items: dict[str, str]
    jwt: str

    @property
    def headers(self) -> dict[str, str]:
        """Signed in as this owner."""
        return {"Authorization": f"Bearer {self.jwt}"}

    @property
    def shares(self) -> str:
        """Where shares of the list are made."""
        return f"/api/v2/wishlists/{self.wishlist}/share"


@dataclass
class Product:
    """The running product."""

    api: str
    postgres: str
    bigquery: str
    sqs: str
    tokens: dict[str, str] = field(default_factory=dict)

    def jwt(self, user: str) -> str:
        """A JWT for *user*."""
        if user not in self.tokens:
            self.tokens[user] = _run("wishlist", "token", user).split()[-1]
        return self.tokens[user]

    def sign_in(self, user: str) -> dict[str, str]:
        """Headers of *user*."""
        return {"Authorization": f"Bearer {self.jwt(user)}"}

    def sql(self, statement: str, *arguments: Any) -> list[Any]:
        """Run one statement in the product's database."""

        async def work() -> list[Any]:
            connection = await asyncpg.connect(self.postgres, timeout=10)
            try:
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(work())

    def new_owner(self) -> Owner:
        """A new user with a list of the spec's nine items, so that no test meets another one's limits."""
        name = uuid4().hex[:12]
        user, wishlist = f"user_{name}", f"wl_{name}"
        self.sql("INSERT INTO users (public_id, display_name) VALUES ($1, 'Maya C.')", user)
        self.sql(
            "INSERT INTO wishlists (public_id, owner_id, title, created_at) "
            "SELECT $1, id, 'Holiday Gift Ideas 2025', '2025-08-20T14:30:00Z' FROM users WHERE public_id = $2",
            wishlist,
            user,
        )
        items = {product: f"item_{name}_{n}" for n, product in enumerate(PRODUCTS)}
        self.sql(
            "INSERT INTO wishlist_items (public_id, wishlist_id, product_id, added_at) "
            "SELECT i.id, w.id, i.product, '2025-08-20T14:30:00Z'::timestamptz + i.n * interval '1 minute' "
            "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS i(id, product, n), wishlists w "
            "WHERE w.public_id = $3",
            list(items.values()),
            list(items),
            wishlist,
        )
        return Owner(user, wishlist, items, self.jwt(user))

    def add_item(self, owner: Owner, item: str) -> None:
        """The product *item* is put on the owner's list, as the shop does it."""
        self.sql(
            "INSERT INTO wishlist_items (public_id, wishlist_id, product_id) "
            "SELECT $1, id, $2 FROM wishlists WHERE public_id = $3",
            f"item_{uuid4().hex[:12]}",
            item,
            owner.wishlist,
        )

    def new_user(self) -> str:
        """A new user without any list."""
        user = f"user_{uuid4().hex[:12]}"
        self.sql("INSERT INTO users (public_id, display_name) VALUES ($1, 'Robin R.')", user)
        return user


@pytest.fixture(scope="session")
def product() -> Product:
    """The product; ``./run up`` starts it."""
    # An emulator that is busy for a moment counts as not healthy, and 1 is returned: that is no reason to test nothing.
    status = json.loads(_run("status", "--json", expected=frozenset({0, 1})))
    assert status.get("api", {}).get("healthy"), f"the API is not up; start it with ./run up: {status.get('api')}"
    return Product(
        api=status["api"]["address"].rstrip("/"),
        postgres=status["postgres"]["address"],
        bigquery=status["bigquery"]["address"],
        sqs=status["sqs"]["address"],
    )


@pytest.fixture
def client(product: Product) -> Iterator[httpx.Client]:
    """A browser at an address of its own, so that no test meets another one's look-up limit."""
    address = ".".join(str(random.randrange(1, 255)) for _ in range(3))
    headers = {"User-Agent": BROWSER, "X-Forwarded-For": f"10.{address}"}
    with httpx.Client(base_url=product.api, headers=headers, timeout=20) as browser:
        yield browser


@pytest.fixture
def owner(product: Product) -> Owner:
    """A new owner."""
    return product.new_owner()


@pytest.fixture
def share(client: httpx.Client, owner: Owner) -> str:
    """The token of a new share of the owner's list."""
    answer = client.post(owner.shares, json={"channel": "copy_link"}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["share_token"]
    return token


def chromium() -> str:
    """Where a browser is that Playwright can drive."""
    found = [Path("/usr/bin/chromium"), Path("/usr/bin/chromium-browser"), Path("/usr/bin/google-chrome")]
    return str(next(path for path in found if path.exists()))


def eventually(check: Callable[[], object], seconds: float = 30) -> None:
    """Wait until *check* holds: what agents do takes a moment."""
    give_up = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < give_up, f"did not come true within {seconds} s"
        time.sleep(0.2)
