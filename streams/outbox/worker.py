"""One worker for every outbox: claims rows under a lease, has them handled, and notes what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeVar
from uuid import uuid4

from clients import metrics
from clients.logs import get_logger
from clients.outbox_rows import (
    Connection,
    Done,
    Dropped,
    Failed,
    FailedRow,
    Later,
    Outcome,
    Refused,
    attempt,
    note_failed,
    pause_seconds,
)
from clients.periodic import JobBoard, every, is_passing
from clients.postgres import Database
from streams.outbox.outbox import Outbox, Row

Settled = list[tuple[Row, Outcome]]
T = TypeVar("T", Done, Later, Dropped)


class OutboxWorker:
    """Works off one outbox. No transaction is open while a row is handled, and no exception leaves :meth:`run`."""

    def __init__(self, outbox: Outbox, database: Database, board: JobBoard | None = None) -> None:
        self.owner = uuid4().hex
        self._outbox = outbox
        self._database = database
        self._board = board or JobBoard()
        self._under_way: set[asyncio.Task[Settled]] = set()
        # Outcomes that PostgreSQL has not taken yet.
        self._settled: Settled = []

    async def run(self) -> None:
        """Work until cancelled; work under way is then finished and noted, so that a clean stop repeats nothing."""
        try:
            await every(0.0, self._turn, name=self._outbox.job, board=self._board)
        finally:
            await self.settle()

    async def start_some(self) -> int:
        """Claim as many rows as there is room for and begin with them; how many rows that were."""
        outbox = self._outbox
        room = max(0, outbox.at_once - len(self._under_way)) * outbox.batch
        allowed = await outbox.capacity(room) if room else 0
        if not allowed:
            return 0
        rows: Sequence[Row] = ()
        try:
            rows = await outbox.claim(await self._database.pool(), self.owner, allowed)
        finally:
            outbox.give_back(allowed - len(rows))
        for batch in _batches(rows, outbox.batch):
            self._under_way.add(asyncio.create_task(self._handle(batch), name=outbox.name))
        return len(rows)

    async def settle(self) -> None:
        """Wait for the work under way, and note what came of it."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._note_finished()

    async def round(self) -> int:
        """Do what is due now, as far as there is room for it; how many rows that were."""
        rows = await self.start_some()
        await self.settle()
        return rows

    async def _turn(self) -> None:
        started = await self.start_some()
        if self._under_way:
            # With room left, new rows are looked for while the others are under way.
            await asyncio.wait(self._under_way, timeout=self._outbox.idle_seconds, return_when=asyncio.FIRST_COMPLETED)
        elif not started and not self._settled:
            await asyncio.sleep(self._outbox.idle_seconds)
        await self._note_finished()

    async def _handle(self, rows: Sequence[Row]) -> Settled:
        """Never raises: the outcomes of *rows*."""
        seconds = self._outbox.lease_seconds
        try:
            async with asyncio.timeout(seconds):
                outcomes = await attempt(rows, self._outbox.handle)
        except TimeoutError:
            outcomes = [Later(f"not done within the lease of {seconds:g} s")] * len(rows)
        return list(zip(rows, outcomes, strict=True))

    async def _note_finished(self) -> None:
        finished = {task for task in self._under_way if task.done()}
        self._under_way -= finished
        self._settled += [one for task in finished for one in task.result()]
        if self._settled:
            # What cannot be noted now, because PostgreSQL is away, is noted by a later turn, while the lease holds.
            await self._note(self._settled)
            self._settled = []

    async def _note(self, settled: Settled) -> None:
        """Note *settled* in one transaction; a row whose note is refused has failed, and the others are noted."""
        pool = await self._database.pool()
        try:
            async with pool.acquire() as connection, connection.transaction():
                await self._write_notes(connection, settled)
        except Exception as error:
            if is_passing(error):
                raise
            if len(settled) > 1:
                middle = len(settled) // 2
                await self._note(settled[:middle])
                await self._note(settled[middle:])
                return
            [(row, outcome)] = settled
            get_logger().exception("an outcome cannot be noted", outbox=self._outbox.name, row=str(row["id"]))
            if isinstance(outcome, Failed | Refused):
                return  # Its lease runs out, and it is tried again.
            await self._note([(row, Failed.by(error))])

    async def _write_notes(self, connection: Connection, settled: Settled) -> None:
        outbox, owner = self._outbox, self.owner
        if done := _with(Done, settled):
            await outbox.note_done(connection, owner, done)
        if later := _with(Later, settled):
            await outbox.note_later(connection, owner, later)
        if dropped := _with(Dropped, settled):
            await outbox.note_dropped(connection, owner, dropped)
        failed = [self._failed_row(row, one) for row, one in settled if isinstance(one, Failed | Refused)]
        if failed:
            await note_failed(connection, outbox.table, failed, owner)
            await outbox.let_go(connection, owner, [row.id for row in failed])
        await outbox.release(connection, owner, [row for row, _ in settled])
        for kind in (Done, Later, Dropped, Failed, Refused):
            count = sum(isinstance(one, kind) for _, one in settled)
            metrics.OUTBOX_ATTEMPTS.labels(outbox.name, kind.__name__.lower()).inc(count)

    def _failed_row(self, row: Row, outcome: Failed | Refused) -> FailedRow:
        pause = pause_seconds(row["failures"] + 1, self._outbox.longest_pause_seconds)
        return FailedRow(row["id"], row["failures"], outcome, pause)


def _with(kind: type[T], settled: Settled) -> list[tuple[Row, T]]:
    return [(row, one) for row, one in settled if isinstance(one, kind)]


def _batches(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Batches of *size*; a row that has failed before is alone, so that it costs no neighbour another attempt."""
    sound = [row for row in rows if not row["failures"]]
    for start in range(0, len(sound), size):
        yield sound[start : start + size]
    for row in rows:
        if row["failures"]:
            yield [row]
