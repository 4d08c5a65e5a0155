"""Agent ``dead_letters``: what lies in the DLQ becomes rows that outlive the topic's 7 days."""

from __future__ import annotations

from clients.postgres import Database
from config.settings import DlqSettings, PostgresSettings, load
from sinks.dead_letters import GROUP, DeadLetterStore
from streams.application import dead_letter_agent
from streams.dead_letter_count import DeadLetterCount
from streams.due_work import LateWork

app = dead_letter_agent("dead_letters", GROUP, DeadLetterStore)


@app.task  # type: ignore[untyped-decorator]
async def count_open() -> None:
    """Keeps the gauge of those that nobody has dealt with."""
    await DeadLetterCount(Database(load(PostgresSettings)), load(DlqSettings)).run()


@app.task  # type: ignore[untyped-decorator]
async def measure_late_work() -> None:
    """Keeps the gauge of what waits in PostgreSQL for longer than it should."""
    await LateWork(Database(load(PostgresSettings)), load(DlqSettings).count_seconds).run()
