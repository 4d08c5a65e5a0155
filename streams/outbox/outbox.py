"""What a destination supplies: its table, how rows are claimed, a handler, and SQL for what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients.outbox_rows import Connection, Done, Dropped, Later, OutboxTable, Outcome, pause_seconds
from clients.postgres import Database

Row = Mapping[str, Any]


def utc_now() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)


def claiming(
    table: OutboxTable, *, due: str, order: str, returning: str, sets: str | None = "attempts = attempts + 1"
) -> str:
    """The usual :attr:`Outbox.claim_sql`: rows that are *due* and that nobody has a lease on, by *order*."""
    changes = ", ".join(filter(None, ("lease_owner = $1", "lease_until = now() + make_interval(secs => $2)", sets)))
    return f"""
        UPDATE {table.table} t SET {changes}
        WHERE {table.key} IN (
            SELECT {table.key} FROM {table.table}
            WHERE {due} AND (lease_until IS NULL OR lease_until < now())
            ORDER BY {order} LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING {table.key} AS id, {returning}"""


class Outbox(ABC):
    """One kind of rows. Two workers of one outbox take different rows.

    A claimed row has ``id``, ``attempts`` (this one included) and ``failures``, and whatever the handler needs.
    """

    table: ClassVar[OutboxTable]
    claim_sql: ClassVar[str]
    """$1 is the lease's owner, $2 its length in seconds, $3 how many rows at most, then :meth:`claim_arguments`.

    Sets ``lease_owner`` and ``lease_until``, adds 1 to ``attempts``, returns the rows.
    """
    done: ClassVar[str | None] = "state = 'done'"
    """The SET clause of a row that is done; None where the handler has noted it itself, the lease included."""

    at_once: int = 1
    """Handlers under way at the same time."""
    batch: int = 1
    """Rows that one handler gets at the most."""
    lease_seconds: float = 60.0
    """An attempt that takes longer is ended; a worker that died leaves its rows for so long."""
    idle_seconds: float = 1.0
    """The pause after which an outbox without rows is looked at again."""
    longest_pause_seconds: float = 300.0

    @property
    def name(self) -> str:
        """The outbox's name in metrics, logs and ``wishlist dlq``."""
        return self.table.name

    @property
    def job(self) -> str:
        """The name of its worker on the board of failing jobs; of several workers in one process each has its own."""
        return self.name

    @abstractmethod
    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """Do the work of *rows*; one outcome for each, in order. Whatever it raises is sorted by the worker."""

    def claim_arguments(self) -> tuple[object, ...]:
        """Further arguments of :attr:`claim_sql`."""
        return ()

    async def capacity(self, rows: int) -> int:
        """How many rows may be claimed now, of the *rows* that there is room for."""
        return rows

    def give_back(self, rows: int) -> None:  # noqa: B027  # most have nothing to give back
        """So many rows of what :meth:`capacity` allowed were not found."""

    async def claim(self, pool: asyncpg.Pool, owner: str, rows: int) -> Sequence[Row]:
        """Claim up to *rows* rows."""
        claimed: Sequence[Any] = await pool.fetch(
            self.claim_sql, owner, self.lease_seconds, rows, *self.claim_arguments()
        )
        return claimed

    async def note_done(self, connection: Connection, owner: str, done: Sequence[tuple[Row, Done]]) -> None:
        """Write down that *done* rows are done; only rows whose lease *owner* holds."""
        if self.done is None:
            return
        p = self.table.prefix
        await connection.execute(
            f"""UPDATE {self.table.table} SET {self.done}, {p}failures = 0, {p}reason = NULL, {p}traceback = NULL,
                       lease_owner = NULL, lease_until = NULL
                WHERE {self.table.key} = ANY($1::{self.table.key_type}[]) AND lease_owner = $2""",
            [row["id"] for row, _ in done],
            owner,
        )

    async def note_later(self, connection: Connection, owner: str, later: Sequence[tuple[Row, Later]]) -> None:
        """Write down that these rows are to be tried again after a pause."""
        waits = self.table.wait
        lease_ends = "" if waits == "lease_until" else "lease_until = NULL, "
        await connection.execute(
            f"""UPDATE {self.table.table} t SET lease_owner = NULL, {lease_ends}{self.table.prefix}reason = of.reason,
                       {waits} = now() + make_interval(secs => of.pause)
                FROM unnest($1::{self.table.key_type}[], $2::text[], $3::float8[]) AS of(id, reason, pause)
                WHERE t.{self.table.key} = of.id AND t.lease_owner = $4""",
            [row["id"] for row, _ in later],
            [outcome.reason for _, outcome in later],
            [self.pause(row, outcome) for row, outcome in later],
            owner,
        )

    async def note_dropped(self, connection: Connection, owner: str, dropped: Sequence[tuple[Row, Dropped]]) -> None:
        """Write down that nobody wants these rows' work any more."""
        await connection.execute(
            f"""UPDATE {self.table.table} t SET state = of.state, lease_owner = NULL, lease_until = NULL
                FROM unnest($1::{self.table.key_type}[], $2::text[]) AS of(id, state)
                WHERE t.{self.table.key} = of.id AND t.lease_owner = $3""",
            [row["id"] for row, _ in dropped],
            [outcome.state for _, outcome in dropped],
            owner,
        )

    async def let_go(self, connection: Connection, owner: str, ids: Sequence[Any]) -> None:
        """End the leases of rows that are not pending any more, and so were not noted."""
        await connection.execute(
            f"""UPDATE {self.table.table} SET lease_owner = NULL, lease_until = NULL
                WHERE {self.table.key} = ANY($1::{self.table.key_type}[]) AND lease_owner = $2""",
            ids,
            owner,
        )

    async def release(  # noqa: B027  # most lease nothing else
        self, connection: Connection, owner: str, rows: Sequence[Row]
    ) -> None:
        """Give back what else was leased with *rows*, such as a serial key; in the transaction that notes them."""

    def pause(self, row: Row, outcome: Later) -> float:
        """Seconds until *row* is tried again."""
        return pause_seconds(row["attempts"], self.longest_pause_seconds, outcome.retry_after)


class TransactionalOutbox(Outbox):
    """An outbox whose work is one transaction of many rows in PostgreSQL, which gives their leases back itself.

    *clock* tells the time (aware); it is the fourth argument of :attr:`claim_sql`.
    """

    done = None
    batch = 500

    def __init__(self, database: Database, idle_seconds: float, clock: Callable[[], datetime] = utc_now) -> None:
        self.idle_seconds = idle_seconds
        self._database = database
        self._clock = clock

    def claim_arguments(self) -> tuple[object, ...]:
        """See :meth:`Outbox.claim_arguments`."""
        return (self._clock(),)

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`Outbox.handle`."""
        ids, owner = [row["id"] for row in rows], rows[0]["lease_owner"]
        async with (await self._database.pool()).acquire() as connection, connection.transaction():
            await self.settle(connection, ids, owner, self._clock())
        return [Done()] * len(rows)

    @abstractmethod
    async def settle(self, connection: PoolConnectionProxy, ids: Sequence[Any], owner: str, now: datetime) -> None:
        """Lock those of *ids* whose lease *owner* still holds, do their work, and give the leases back."""
