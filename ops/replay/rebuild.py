"""The share store built anew beside the live one, and taken over in one transaction.

The shadow is a schema of PostgreSQL with tables of the same names, its own ledger and its own watermarks: the sink
works on it unchanged, because its connections look there first. What the store shares with the shop stays where it
is: copied items are collected apart, and only added to readers' lists.

Taking over changes rows, not tables: what is the same in both stays untouched, readers see the old store until the
transaction ends, and what differs is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

# Table, key, and columns that events do not make: those of the live row stay.
_STORES = (
    ("wishlist_shares", ("id",), ()),
    ("share_item_visibility", ("share_id", "item_id"), ()),
    ("share_visitors", ("share_id", "day", "visitor_hash"), ()),
)
_COLLECTED = "wishlist_items"
_BOOKS = ("ledger", "watermarks")


@dataclass(frozen=True)
class Difference:
    """How the shadow differed from one live table: rows that were missing, that said something else, and that were not
    there any more."""

    table: str
    missing: int
    changed: int
    surplus: int


def schema_of(replay: str) -> str:
    """The shadow's schema."""
    return "rebuild_" + "".join(letter if letter.isalnum() else "_" for letter in replay.lower())


async def make(connection: asyncpg.Connection, schema: str) -> None:
    """An empty shadow; one that is there already is left as it is."""
    async with connection.transaction():
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for table in (*(store for store, _, _ in _STORES), _COLLECTED, *_BOOKS):
            await connection.execute(
                f'CREATE TABLE IF NOT EXISTS "{schema}"."{table}" (LIKE public."{table}" INCLUDING ALL)'
            )


async def drop(connection: asyncpg.Connection, schema: str) -> None:
    """Away with it."""
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


async def take_over(connection: asyncpg.Connection, schema: str) -> list[Difference]:
    """Make the live tables say what the shadow says; inside the caller's transaction."""
    found = [await _take_over(connection, schema, *store) for store in _STORES]
    added = await connection.execute(
        f'INSERT INTO public."{_COLLECTED}" SELECT * FROM "{schema}"."{_COLLECTED}" ON CONFLICT DO NOTHING'
    )
    return [*found, Difference(_COLLECTED, _count(added), 0, 0)]


async def _take_over(
    connection: asyncpg.Connection, schema: str, table: str, key: Sequence[str], kept: Sequence[str]
) -> Difference:
    rows = await connection.fetch(
        """SELECT column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position""",
        table,
    )
    columns = [row["column_name"] for row in rows if row["column_name"] not in kept]
    names = ", ".join(f'"{column}"' for column in columns)
    same = " AND ".join(f'live."{column}" = shadow."{column}"' for column in key)
    surplus = await connection.execute(
        f'DELETE FROM public."{table}" live WHERE NOT EXISTS (SELECT FROM "{schema}"."{table}" shadow WHERE {same})'
    )
    changed = "UPDATE 0"
    if values := [column for column in columns if column not in key]:
        assign = ", ".join(f'"{column}" = shadow."{column}"' for column in values)
        live, shadow = (", ".join(f'{side}."{column}"' for column in values) for side in ("live", "shadow"))
        changed = await connection.execute(
            f"""UPDATE public."{table}" live SET {assign} FROM "{schema}"."{table}" shadow
                WHERE {same} AND ({live}) IS DISTINCT FROM ({shadow})"""
        )
    missing = await connection.execute(
        f"""INSERT INTO public."{table}" ({names}) SELECT {names} FROM "{schema}"."{table}" ON CONFLICT DO NOTHING"""
    )
    return Difference(table, _count(missing), _count(changed), _count(surplus))


def _count(tag: str) -> int:
    return int(tag.split()[-1])
