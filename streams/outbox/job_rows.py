"""Rows of periodic jobs: a row that fails is left out for a while, and parked after five failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from clients.faults import Unavailable
from clients.outbox_rows import (
    Connection,
    Done,
    Failed,
    FailedRow,
    Later,
    OutboxTable,
    Outcome,
    attempt,
    note_failed,
    pause_seconds,
)
from clients.postgres import Database

_LONGEST_PAUSE_SECONDS = 3_600.0


def job_table(job: str) -> OutboxTable:
    """The failed rows of *job*, in the one table that all periodic jobs share."""
    return OutboxTable(
        name=job,
        table="job_rows",
        key="row_id",
        key_type="text",
        scope=f"job = '{job}'",
        revive="state = 'due', due_at = now()",
        discard="state = 'discarded'",
    )


class JobRows:
    """Does a job's work row by row or batch by batch, and keeps account of the rows that fail by themselves.

    Rows are named by the text of their ids.
    """

    def __init__(self, database: Database, table: OutboxTable) -> None:
        self._database = database
        self._table = table

    async def blocked(self, connection: Connection | None = None) -> list[str]:
        """The rows that must not be tried now: parked and discarded ones, and those whose pause is not over."""
        rows = await (connection or await self._database.pool()).fetch(
            "SELECT row_id FROM job_rows WHERE job = $1 AND (state <> 'due' OR due_at > now())", self._table.name
        )
        return [row["row_id"] for row in rows]

    async def work(self, rows: Sequence[str], handle: Callable[[Sequence[str]], Awaitable[object]]) -> int:
        """Have *handle* do *rows*; returns how many were done.

        *handle* raises where it cannot do them, all or nothing; a batch that fails is halved until the bad row stands
        alone. Raises :class:`clients.faults.Unavailable` after an outage, with the other rows done.
        """

        async def outcomes_of(some: Sequence[str]) -> Sequence[Outcome]:
            await handle(some)
            return [Done()] * len(some)

        outcomes = await attempt(rows, outcomes_of) if rows else []
        failed = {row: one for row, one in zip(rows, outcomes, strict=True) if isinstance(one, Failed)}
        await self._note([row for row in rows if row not in failed], failed)
        for outcome in outcomes:
            if isinstance(outcome, Later):
                raise Unavailable(self._table.name, outcome.reason)
        return sum(isinstance(one, Done) for one in outcomes)

    async def _note(self, sound: Sequence[str], failed: dict[str, Failed]) -> None:
        pool = await self._database.pool()
        job = self._table.name
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM job_rows WHERE job = $1 AND state = 'due' AND row_id = ANY($2::text[])", job, sound
            )
            if not failed:
                return
            await connection.execute(
                "INSERT INTO job_rows (job, row_id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
                job,
                list(failed),
            )
            known = await connection.fetch(
                "SELECT row_id, failures FROM job_rows WHERE job = $1 AND row_id = ANY($2::text[])", job, list(failed)
            )
            noted = [
                FailedRow(row["row_id"], row["failures"], failed[row["row_id"]],
                          pause_seconds(row["failures"] + 1, _LONGEST_PAUSE_SECONDS))
                for row in known
            ]  # fmt: skip
            await note_failed(connection, self._table, noted, owner=None)
