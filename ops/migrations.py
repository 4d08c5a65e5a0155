"""Applies and rolls back the numbered SQL files of ``schemas/postgres``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from ops import ledger

FOLDER = Path(__file__).parent.parent / "schemas" / "postgres"
_NAME = re.compile(r"^(\d{3})_(?!rollback)(\w+)\.sql$")
# Serialises migrators of one database; any fixed number would do.
_LOCK = 890_250_048


@dataclass(frozen=True)
class Migration:
    """One step: its number, its name, the SQL that does it and the SQL that undoes it."""

    number: int
    name: str
    sql: str
    rollback: str


def all_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Every migration, lowest number first; a missing rollback is an error."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.match(path.name)
        if not match:
            continue
        rollbacks = list(folder.glob(f"{match[1]}_rollback_*.sql"))
        if len(rollbacks) != 1:
            raise FileNotFoundError(f"{path.name} needs exactly one {match[1]}_rollback_*.sql beside it")
        found.append(Migration(int(match[1]), match[2], path.read_text(), rollbacks[0].read_text()))
    return found


async def migrate(connection: asyncpg.Connection) -> list[Migration]:
    """Apply what is missing, each in its own transaction, and see to the ledger; returns what was applied."""
    done = []
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(
            """CREATE TABLE IF NOT EXISTS schema_migrations (
                   number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"""
        )
        applied = {row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")}
        for step in all_migrations():
            if step.number in applied:
                continue
            async with connection.transaction():
                await connection.execute(step.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)", step.number, step.name
                )
            done.append(step)
        await ledger.maintain(connection, datetime.now(UTC))
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return done


async def rollback(connection: asyncpg.Connection, above: int) -> list[Migration]:
    """Undo every applied migration whose number is greater than *above*, newest first."""
    undone = []
    applied = {row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")}
    for step in reversed(all_migrations()):
        if step.number > above and step.number in applied:
            async with connection.transaction():
                await connection.execute(step.rollback)
                await connection.execute("DELETE FROM schema_migrations WHERE number = $1", step.number)
            undone.append(step)
    return undone
