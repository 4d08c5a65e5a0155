"""The share store built anew: tables of the same names in the shadow's schema, taken over in one transaction.

What the store shares with the shop stays where it is: copied items are collected apart, and only added to readers'
lists. Readers see the old store until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from clients.postgres import Database
from ops.replay.rebuild import Difference
from sinks.contract import Sink
from sinks.share_store import ShareStore

# Table, key, and columns that events do not make: those of the live row stay.
_STORES = (
    ("wishlist_shares", ("id",), ()),
    ("share_item_visibility", ("share_id", "item_id"), ()),
    ("share_visitors", ("share_id", "day", "visitor_hash"), ()),
)
_COLLECTED = "wishlist_items"


class ShareStoreShadow:
    """See :class:`ops.replay.rebuild.Shadow`."""

    tables = (*(store for store, _, _ in _STORES), _COLLECTED)

    def sink(self, database: Database, group: str) -> Sink:
        """See :meth:`ops.replay.rebuild.Shadow.sink`."""
        return ShareStore(database, group)

    async def make(self) -> None:
        """Nothing is outside of PostgreSQL."""

    async def hold(self, connection: asyncpg.Connection, live: Database, group: str) -> None:
        """Nothing: the agent moves its watermarks in the transaction in which it writes."""

    async def take_over(self, connection: asyncpg.Connection, schema: str) -> list[Difference]:
        """See :meth:`ops.replay.rebuild.Shadow.take_over`."""
        found = [await _take_over(connection, schema, *store) for store in _STORES]
        added = await connection.execute(
            f'INSERT INTO public."{_COLLECTED}" SELECT * FROM "{schema}"."{_COLLECTED}" ON CONFLICT DO NOTHING'
        )
        return [*found, Difference(_COLLECTED, _count(added), 0, 0)]

    async def drop(self) -> None:
        """Nothing is outside of PostgreSQL."""


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
