"""Owners' messages: sealed, opened, and gone for ever once the key is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from api.database import Database
from api.messages import MessageBox
from ops.seed import key_of
from tests.lab import open_database

MAYA, OTHER = key_of("user_maya"), key_of("user_other")
WORDS = "No pressure — 没关系 🎁"


@pytest.fixture
async def db() -> AsyncIterator[Database]:
    async with open_database(f"messages_{uuid4().hex[:12]}") as dsn, asyncpg.create_pool(dsn, min_size=1) as pool:
        yield Database(pool, seconds=2)


async def test_a_message_is_read_by_any_process_and_by_no_other_owner(db: Database) -> None:
    sealed = await MessageBox(db).seal(MAYA, WORDS)
    assert sealed is not None
    assert "pressure" not in sealed
    assert await MessageBox(db).open(MAYA, sealed) == WORDS
    await MessageBox(db).seal(OTHER, "mine")
    assert await MessageBox(db).open(OTHER, sealed) is None


async def test_two_processes_that_seal_at_once_use_one_key(db: Database) -> None:
    first, second = MessageBox(db), MessageBox(db)
    one, two = await first.seal(MAYA, "one"), await second.seal(MAYA, "two")
    assert (await second.open(MAYA, one), await first.open(MAYA, two)) == ("one", "two")


async def test_without_the_key_there_is_no_message(db: Database) -> None:
    sealed = await MessageBox(db).seal(MAYA, WORDS)
    await db.execute("DELETE FROM owner_keys")
    assert await MessageBox(db).open(MAYA, sealed) is None


async def test_no_message_needs_no_key(db: Database) -> None:
    assert await MessageBox(db).seal(MAYA, None) is None
    assert await MessageBox(db).seal(MAYA, "") is None
    assert await db.value("SELECT count(*) FROM owner_keys") == 0


async def test_what_was_never_sealed_reads_as_none(db: Database) -> None:
    await MessageBox(db).seal(MAYA, WORDS)
    assert await MessageBox(db).open(MAYA, "plain text from elsewhere") is None
