"""The numbered migrations on a fresh PostgreSQL database: forth, again, back to nothing, and forth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from config.settings import PostgresSettings
from ops import migrations


@pytest.fixture
async def database() -> AsyncIterator[asyncpg.Connection]:
    base = PostgresSettings().dsn
    name = f"migrations_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(base)
    await admin.execute(f'CREATE DATABASE "{name}"')
    connection = await asyncpg.connect(urlunsplit(urlsplit(base)._replace(path=f"/{name}")))
    try:
        yield connection
    finally:
        await connection.close()
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


async def objects(connection: asyncpg.Connection) -> set[str]:
    """Every table, index, sequence, function, trigger and type of the schema, but the migrations' own list."""
    rows = await connection.fetch(
        """SELECT 'relation ' || relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
           UNION SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
           UNION SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"""
    )
    return {row["name"] for row in rows if "schema_migrations" not in row["name"]}


async def test_forth_again_back_and_forth(database: asyncpg.Connection) -> None:
    numbers = [step.number for step in migrations.all_migrations()]
    assert [step.number for step in await migrations.migrate(database)] == numbers
    complete = await objects(database)
    assert await migrations.migrate(database) == []
    assert await objects(database) == complete

    undone = await migrations.rollback(database, 0)
    assert [step.number for step in undone] == numbers[::-1]
    assert await objects(database) == set()
    assert await database.fetchval("SELECT count(*) FROM schema_migrations") == 0

    assert [step.number for step in await migrations.migrate(database)] == numbers
    assert await objects(database) == complete


async def test_the_verification_queries_of_the_spec(database: asyncpg.Connection) -> None:
    await migrations.migrate(database)
    assert await database.fetchval("SELECT count(*) FROM wishlist_shares") == 0
    rows = await database.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'wishlist_shares'")
    assert {row["indexname"] for row in rows} >= {
        "idx_wishlist_shares_token",
        "idx_wishlist_shares_wishlist_created",
        "idx_wishlist_shares_created_by",
    }


async def test_048_is_the_table_of_the_spec(database: asyncpg.Connection) -> None:
    await migrations.migrate(database)
    await migrations.rollback(database, 48)
    rows = await database.fetch(
        """SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns
           WHERE table_name = 'wishlist_shares' ORDER BY ordinal_position"""
    )
    when = "timestamp with time zone"
    assert [tuple(row) for row in rows] == [
        ("id", "uuid", "NO", "gen_random_uuid()"),
        ("wishlist_id", "uuid", "NO", None),
        ("share_token", "character varying", "NO", None),
        ("created_by", "uuid", "NO", None),
        ("expires_at", when, "YES", None),
        ("view_count", "integer", "NO", "0"),
        ("items_added", "integer", "NO", "0"),
        ("share_channel", "character varying", "YES", None),
        ("is_revoked", "boolean", "NO", "false"),
        ("created_at", when, "NO", "now()"),
        ("updated_at", when, "NO", "now()"),
    ]


async def test_a_step_that_fails_leaves_nothing_behind(
    database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = migrations.all_migrations()
    bad = migrations.Migration(999, "broken", "CREATE TABLE half (id INTEGER); SELECT 1 / 0", "DROP TABLE half")
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*good, bad])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrations.migrate(database)
    assert await database.fetchval("SELECT to_regclass('half')") is None
    assert await database.fetchval("SELECT max(number) FROM schema_migrations") == good[-1].number
    # The lock is free again: nobody waits for a migrator that has failed.
    assert (
        await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        == 0
    )
