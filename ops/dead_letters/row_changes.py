"""Sends parked rows again, or gives them up; each change and its note in the audit are one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from clients.outbox_rows import OutboxTable
from ops.dead_letters import audit
from ops.dead_letters.letters import Letter
from ops.dead_letters.rows import TABLES, ParkedRow, RowId
from streams.outboxes import ALL


async def redrive(
    connection: asyncpg.Connection, act: UUID, rows: Sequence[ParkedRow]
) -> tuple[list[RowId], dict[Letter | ParkedRow, str]]:
    """Have *rows* worked off again; the ids of those that are due now, and why others are not."""
    done: list[RowId] = []
    refused: dict[Letter | ParkedRow, str] = {}
    for row in rows:
        table = TABLES[row.id.outbox]
        try:
            gone = not await _change(connection, act, row.id, f"{table.revive}, {table.prefix}failures = 0")
        except asyncpg.IntegrityConstraintViolationError:
            refused[row] = "another row is due in its place: discard this one"
            continue
        if gone:
            refused[row] = "is not parked any more"
        else:
            done.append(row.id)
    return done, refused


async def discard(connection: asyncpg.Connection, act: UUID, rows: Sequence[ParkedRow]) -> list[RowId]:
    """Give *rows* up; the ids of those that were still parked."""
    return [row.id for row in rows if await _change(connection, act, row.id, TABLES[row.id.outbox].discard)]


async def discard_old(connection: asyncpg.Connection, before: datetime) -> int:
    """Give up the rows that were parked before *before*; how many."""
    count = 0
    for table in ALL:
        statement = _statement(table, table.discard, f"{table.prefix}parked_at < $1")
        count += int((await connection.execute(statement, before)).split()[-1])
    return count


def _statement(table: OutboxTable, sets: str | None, which: str) -> str:
    """Changes the parked rows of *table* that are *which* by *sets*; None deletes them."""
    which = f"{table.is_parked} AND {which}"
    if sets is None:
        return f"DELETE FROM {table.table} WHERE {which}"
    return f"UPDATE {table.table} SET {sets}, {table.prefix}parked_at = NULL WHERE {which}"


async def _change(connection: asyncpg.Connection, act: UUID, id: RowId, sets: str | None) -> bool:
    """Change one parked row and note it in the audit, together; whether it was parked."""
    table = TABLES[id.outbox]
    async with connection.transaction():
        changed = await connection.execute(_statement(table, sets, f"{table.key}::text = $1"), id.row)
        if changed.endswith(" 0"):
            return False
        await audit.note_row(connection, act, id)
    return True
