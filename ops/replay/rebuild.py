"""A store built anew beside the live one, and taken over.

The shadow has a schema of PostgreSQL with a ledger and watermarks of its own, into which the sink's connections look
first: so the sink works on it unchanged. What else it has each kind of store says for itself. Taking over changes rows,
not tables: what is the same in both stays untouched, and what differs is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import asyncpg

from clients.postgres import Database
from ops import ledger
from sinks.contract import Sink

BOOKS = ("ledger", "watermarks")


class ShadowFault(Exception):
    """The shadow cannot be made, filled or taken over now; says why."""


@dataclass(frozen=True)
class Difference:
    """How the shadow differed from one live table: rows that were missing, that said something else, and that were not
    there any more."""

    table: str
    missing: int
    changed: int
    surplus: int


class Shadow(Protocol):
    """A store beside the live one. Everything can be repeated; :class:`ShadowFault` where a service is away."""

    @property
    def tables(self) -> Sequence[str]:
        """What of PostgreSQL it has for itself."""
        ...

    def sink(self, database: Database, group: str) -> Sink:
        """What fills it; *database* looks into its schema first."""
        ...

    async def make(self) -> None:
        """Make what it has outside of PostgreSQL; what is there already is left as it is."""
        ...

    async def hold(self, connection: asyncpg.Connection, live: Database, group: str) -> None:
        """Keep the live *group* from writing, beyond its watermarks, until the transaction of *connection* ends."""
        ...

    async def take_over(self, connection: asyncpg.Connection, schema: str) -> list[Difference]:
        """Make the live store say what the shadow says, in the transaction of *connection*."""
        ...

    async def drop(self) -> None:
        """Away with what it has outside of PostgreSQL."""
        ...


def schema_of(replay: str) -> str:
    """The shadow's schema."""
    return "rebuild_" + "".join(letter if letter.isalnum() else "_" for letter in replay.lower())


async def make(connection: asyncpg.Connection, schema: str, shadow: Shadow) -> None:
    """An empty shadow; one that is there already is left as it is."""
    await shadow.make()
    async with connection.transaction():
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for table in (*shadow.tables, *BOOKS):
            await connection.execute(
                f'CREATE TABLE IF NOT EXISTS "{schema}"."{table}" (LIKE public."{table}" INCLUDING ALL)'
            )


async def drop(connection: asyncpg.Connection, schema: str, shadow: Shadow) -> None:
    """Away with it."""
    await shadow.drop()
    await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


async def remember(connection: asyncpg.Connection, schema: str, now: datetime) -> None:
    """Have the live ledger know what the shadow's does, so that what the store has got back is not applied again."""
    await connection.execute(
        f"""INSERT INTO public.ledger SELECT * FROM "{schema}".ledger WHERE event_id >= $1 ORDER BY event_id
            ON CONFLICT DO NOTHING""",
        ledger.first_id_at(now - ledger.KEEP),
    )
