"""Who did what to dead letters: written down before it is done, and what became of it with the doing."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

from ops.dead_letters.letters import LetterId
from ops.dead_letters.rows import RowId
from schemas.ids import uuid7

# Any number that nobody else takes: redriving and discarding exclude each other.
_LOCK = 0x646C71
_LOCK_SECONDS = 5.0

Kind = Literal["redrive", "discard", "unmask"]


class Busy(RuntimeError):
    """Another redrive or discard is at work."""


@dataclass(frozen=True, slots=True)
class Act:
    """One command of an operator's; ``ended_at`` is None where it was cut off, or still runs."""

    id: UUID
    act: str
    actor: str
    asked_for: str
    reason: str | None
    letters: int
    done: int
    begun_at: datetime
    ended_at: datetime | None


def operator() -> str:
    """Who runs this, as the system knows them: ``maya@host``, or who called sudo."""
    name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    return f"{name}@{socket.gethostname()}"


@asynccontextmanager
async def alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """One operator at a time; raises :class:`Busy` where another one does not end within 5 s."""
    for _ in range(int(_LOCK_SECONDS / 0.2)):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            break
        await asyncio.sleep(0.2)
    else:
        raise Busy("another redrive or discard is at work; wishlist dlq audit shows whose")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def begin(
    connection: asyncpg.Connection, kind: Kind, actor: str, asked_for: str, letters: int, reason: str | None = None
) -> UUID:
    """Write down what is about to be done to so many *letters*; returns the act's id."""
    act = uuid7()
    await connection.execute(
        "INSERT INTO dead_letter_acts (id, act, actor, asked_for, reason, letters) VALUES ($1, $2, $3, $4, $5, $6)",
        act,
        kind,
        actor,
        asked_for,
        reason,
        letters,
    )
    return act


async def end(connection: asyncpg.Connection, act: UUID) -> None:
    """It was done, or left, to the end."""
    await connection.execute("UPDATE dead_letter_acts SET ended_at = now() WHERE id = $1", act)


async def mark_redriven(connection: asyncpg.Connection, act: UUID, places: Mapping[LetterId, tuple[int, int]]) -> None:
    """The letters lie in their topics again, at *places* (partition, offset)."""
    async with connection.transaction():
        await connection.execute(
            """UPDATE dead_letters d SET state = 'redriven', sent_times = sent_times + 1,
                      sent_partition = m.sent_partition, sent_offset = m.sent_offset
               FROM unnest($1::int[], $2::bigint[], $3::int[], $4::bigint[]) AS m(p, o, sent_partition, sent_offset)
               WHERE (d.dlq_partition, d.dlq_offset) = (m.p, m.o)""",
            [one.partition for one in places],
            [one.offset for one in places],
            [partition for partition, _ in places.values()],
            [offset for _, offset in places.values()],
        )
        await _note(connection, act, list(places))


async def mark_discarded(connection: asyncpg.Connection, act: UUID, ids: Sequence[LetterId]) -> None:
    """The letters are given up."""
    async with connection.transaction():
        await connection.execute(
            """UPDATE dead_letters SET state = 'discarded'
               FROM unnest($1::int[], $2::bigint[]) AS of(p, o) WHERE (dlq_partition, dlq_offset) = (p, o)""",
            [one.partition for one in ids],
            [one.offset for one in ids],
        )
        await _note(connection, act, ids)


async def note_unmasked(connection: asyncpg.Connection, actor: str, asked_for: str, about: LetterId | RowId) -> None:
    """*actor* is about to see a letter or row with its secrets."""
    async with connection.transaction():
        act = await begin(connection, "unmask", actor, asked_for, 1)
        if isinstance(about, LetterId):
            await _note(connection, act, [about])
        else:
            await note_row(connection, act, about)
        await end(connection, act)


async def note_row(connection: asyncpg.Connection, act: UUID, row: RowId) -> None:
    """The act *act* was about *row*."""
    await connection.execute(
        "INSERT INTO dead_letter_act_rows (act_id, outbox, row_id) VALUES ($1, $2, $3)", act, row.outbox, row.row
    )


async def acts(
    connection: asyncpg.Connection, *, about: LetterId | RowId | None = None, limit: int | None = None
) -> list[Act]:
    """What was done, newest first: at all, or *about* one letter or row."""
    letter = about if isinstance(about, LetterId) else LetterId(-1, -1)
    row = about if isinstance(about, RowId) else RowId("", "")
    rows = await connection.fetch(
        """SELECT a.*, (SELECT count(*) FROM dead_letter_act_letters l WHERE l.act_id = a.id)
                       + (SELECT count(*) FROM dead_letter_act_rows r WHERE r.act_id = a.id) AS done
           FROM dead_letter_acts a
           WHERE $1 OR EXISTS (
               SELECT 1 FROM dead_letter_act_letters l
               WHERE (l.act_id, l.dlq_partition, l.dlq_offset) = (a.id, $2::int, $3::bigint))
             OR EXISTS (SELECT 1 FROM dead_letter_act_rows r WHERE (r.act_id, r.outbox, r.row_id) = (a.id, $4, $5))
           ORDER BY a.begun_at DESC, a.id DESC LIMIT $6""",
        about is None,
        *letter,
        *row,
        limit,
    )
    return [Act(**row) for row in rows]


async def _note(connection: asyncpg.Connection, act: UUID, ids: Sequence[LetterId]) -> None:
    await connection.execute(
        """INSERT INTO dead_letter_act_letters (act_id, dlq_partition, dlq_offset)
           SELECT $1, * FROM unnest($2::int[], $3::bigint[])""",
        act,
        [one.partition for one in ids],
        [one.offset for one in ids],
    )
