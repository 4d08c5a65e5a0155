"""Rows that stand for outside work: what came of an attempt, and how a row that fails by itself is set aside.

A row that fails five times with an unexpected exception, or that the other side will never take, is *parked*: it stays
in its table with its reason until an operator sends it again or discards it (``wishlist dlq``).
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.logs import get_logger
from clients.periodic import is_passing

MOST_FAILURES = 5
_LONGEST_ASKED_SECONDS = 3_600.0
_LONGEST_REASON = 1_000
_LONGEST_TRACEBACK = 20_000

Connection = asyncpg.Connection | PoolConnectionProxy


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done. *result* is for the outbox's own note of it."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Later:
    """An outage: the same attempt may succeed later. *retry_after* is the other side's own wish, in seconds."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side will never take this row as it is: it is parked at once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nobody wants this row's work any more. *state* is how its table says so."""

    reason: str
    state: str = "dropped"


@dataclass(frozen=True, slots=True)
class Failed:
    """An unexpected exception: the row's own problem."""

    reason: str
    traceback: str

    @classmethod
    def by(cls, error: Exception) -> Failed:
        """The failure that *error* is."""
        lines = "".join(traceback.format_exception(error))
        return cls(f"{type(error).__name__}: {error}", lines[-_LONGEST_TRACEBACK:])


Outcome = Done | Later | Refused | Dropped | Failed

R = TypeVar("R")


async def attempt(rows: Sequence[R], handle: Callable[[Sequence[R]], Awaitable[Sequence[Outcome]]]) -> list[Outcome]:
    """What *handle* makes of *rows*, one outcome for each. A batch that fails is halved until the bad row is alone."""
    try:
        outcomes = await handle(rows)
        if len(outcomes) != len(rows):
            raise ValueError(f"{len(rows)} rows were handled with {len(outcomes)} outcomes")
        return list(outcomes)
    except Exception as error:
        if is_passing(error):
            return [Later(f"{type(error).__name__}: {error}")] * len(rows)
        if len(rows) == 1:
            return [Failed.by(error)]
    middle = len(rows) // 2
    return await attempt(rows[:middle], handle) + await attempt(rows[middle:], handle)


def pause_seconds(attempts: int, longest: float, retry_after: float | None = None) -> float:
    """The pause before the next attempt: what the other side asked for, else full jitter below a cap that doubles.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if retry_after is not None:
        return min(retry_after, _LONGEST_ASKED_SECONDS)
    return random.uniform(0.0, min(longest, 2.0 ** min(attempts, 20)))


@dataclass(frozen=True, kw_only=True)
class OutboxTable:
    """Where an outbox's rows are, and how a row says that it is parked.

    *prefix* tells several outboxes of one table apart: their columns ``failures``, ``reason``, ``traceback`` and
    ``parked_at`` begin with it. *scope* and *pending* are SQL conditions: which rows of the table are this outbox's,
    and which of these wait for work. *park*, *revive* and *discard* are SET clauses beside ``parked_at``: a row is
    parked (empty: ``parked_at`` alone says so; else the clause is the condition too), sent again, given up (None: it is
    deleted). *wait* is the column in which a pause ends.
    """

    name: str
    table: str
    key: str = "id"
    key_type: str = "uuid"
    prefix: str = ""
    scope: str = "TRUE"
    pending: str = "state = 'due'"
    park: str = "state = 'parked'"
    revive: str = "state = 'due', due_at = now(), attempts = 0"
    discard: str | None = "state = 'dropped'"
    wait: str = "due_at"

    @property
    def is_parked(self) -> str:
        """The SQL condition of a parked row."""
        return f"{self.scope} AND {self.park or f'{self.prefix}parked_at IS NOT NULL'}"


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row, the number of its failures before this attempt, and the failure or refusal."""

    id: Any
    failures: int
    outcome: Failed | Refused
    pause: float

    @property
    def is_parked(self) -> bool:
        """Whether this was the last attempt."""
        return isinstance(self.outcome, Refused) or self.failures + 1 >= MOST_FAILURES


async def note_failed(connection: Connection, table: OutboxTable, rows: Sequence[FailedRow], owner: str | None) -> None:
    """Count a failure of each of *rows*, and park the rows that have no attempt left.

    *owner* holds their leases; None where the table has no leases. A row that is no longer pending, because it was
    withdrawn meanwhile, is left as it is.
    """
    for parks in (False, True):
        chosen = [row for row in rows if row.is_parked is parks]
        if not chosen:
            continue
        note = await connection.fetch(
            _note_failed(table, parks=parks, leased=owner is not None),
            [row.id for row in chosen],
            [printable(row.outcome.reason)[:_LONGEST_REASON] for row in chosen],
            [printable(row.outcome.traceback) if isinstance(row.outcome, Failed) else "" for row in chosen],
            [row.pause for row in chosen],
            *([] if owner is None else [owner]),
        )
        if parks:
            metrics.OUTBOX_PARKED.labels(table.name).inc(len(note))
        for row in chosen:
            level = get_logger().error if parks else get_logger().warning
            said = "a row is parked" if parks else "a row failed"
            level(said, outbox=table.name, row=str(row.id), failures=row.failures + 1, reason=row.outcome.reason[:500])


def _note_failed(table: OutboxTable, *, parks: bool, leased: bool) -> str:
    p = table.prefix
    sets = [f"{p}failures = t.{p}failures + 1", f"{p}reason = of.reason", f"{p}traceback = nullif(of.traceback, '')"]
    if leased:
        sets += ["lease_owner = NULL"]
        # Where a pause ends in the lease's own column, the owner's absence says that nobody works on the row.
        sets += ["lease_until = NULL"] if parks or table.wait != "lease_until" else []
    if parks:
        sets += [f"{p}parked_at = now()", *([table.park] if table.park else [])]
    else:
        sets += [f"{table.wait} = now() + make_interval(secs => of.pause)"]
    return f"""UPDATE {table.table} t SET {", ".join(sets)}
        FROM unnest($1::{table.key_type}[], $2::text[], $3::text[], $4::float8[]) AS of(id, reason, traceback, pause)
        WHERE t.{table.key} = of.id AND {table.scope} AND {table.pending} {"AND lease_owner = $5" if leased else ""}
        RETURNING t.{table.key}"""


def printable(text: str) -> str:
    """*text* as PostgreSQL takes it: without NUL, lone surrogates written out."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
