"""A page that was just opened is shown again without PostgreSQL, for a second, unless Redis or the clock says no."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from api import reads
from api.cache import ShareCache
from api.database import Database
from api.errors import ShareNotFound
from api.limits import Held
from api.reads import ShareReader
from api.redis_gate import RedisGate
from clients.faults import Unavailable
from clients.links import TOMBSTONE
from schemas.codec import Codec, load_schemas

TOKEN = "7fB9xK2mN4pQ8rT1vW3y"


class Rows:
    """A database that knows one share, and how often it was asked."""

    def __init__(self, expires_at: datetime | None = None) -> None:
        self.asked = 0
        self.shown = {
            "share_id": uuid4(), "wishlist_id": uuid4(), "created_by": uuid4(), "share_channel": "email",
            "expires_at": expires_at, "expired_at": None, "view_count": 1, "is_revoked": False, "message": None,
            "created_at": datetime.now(UTC), "variant": None, "title": "Gifts", "display_name": "Maya",
            "owner_public_id": "user_maya", "listed_at": datetime.now(UTC), "items": "[]", "item_count": 0,
            "total": "0.00", "currency": None, "content_hash": None, "revoke_waits": False,
        }  # fmt: skip

    async def row(self, _: str, *__: object) -> dict[str, Any]:
        self.asked += 1
        return self.shown


class NoRedis:
    async def call(self, _: object, **__: object) -> None:
        raise Unavailable("Redis", "away")


def reader_of(rows: Rows) -> ShareReader:
    cache = ShareCache(cast(RedisGate, NoRedis()), 60)
    return ShareReader(db=cast(Database, rows), cache=cache, codec=Codec(load_schemas()))


KNOWS_NOTHING = Held(None, answers=True)


async def test_postgresql_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_RECENT_SECONDS", 0.2)
    rows = Rows()
    reader = reader_of(rows)
    first = await reader.open_recent(TOKEN, KNOWS_NOTHING)
    rows.shown["title"] = "New"
    assert await reader.open_recent(TOKEN, KNOWS_NOTHING) is first
    assert rows.asked == 1
    await asyncio.sleep(0.25)
    assert (await reader.open_recent(TOKEN, KNOWS_NOTHING)).shown.title == "New"


async def test_a_revocation_counts_at_once() -> None:
    reader = reader_of(Rows())
    await reader.open_recent(TOKEN, KNOWS_NOTHING)
    with pytest.raises(ShareNotFound):
        await reader.open_recent(TOKEN, Held(TOMBSTONE, answers=True))


async def test_a_hidden_item_counts_at_once() -> None:
    rows = Rows()
    reader = reader_of(rows)
    share = (await reader.open_recent(TOKEN, KNOWS_NOTHING)).share
    hidden = replace(share, hidden_item_ids=(uuid4(),))
    for _ in range(2):
        await reader.open_recent(TOKEN, Held(hidden.to_json(), answers=True))
    assert rows.asked == 2


async def test_without_redis_postgresql_is_asked_each_time() -> None:
    rows = Rows()
    reader = reader_of(rows)
    for _ in range(2):
        await reader.open_recent(TOKEN, Held(None, answers=False))
    assert rows.asked == 2


async def test_an_expiry_counts_at_once() -> None:
    reader = reader_of(Rows(datetime.now(UTC) + timedelta(seconds=0.2)))
    await reader.open_recent(TOKEN, KNOWS_NOTHING)
    await asyncio.sleep(0.25)
    with pytest.raises(ShareNotFound):
        await reader.open_recent(TOKEN, KNOWS_NOTHING)
