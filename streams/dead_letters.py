"""Agent ``dead_letters``: the DLQ's records become rows that outlive the topic's 7 days."""

from __future__ import annotations

import asyncio

from clients.periodic import every
from clients.postgres import Database
from config.settings import DlqSettings, PostgresSettings, load
from sinks.dead_letters import GROUP, DeadLetterStore
from streams.application import dead_letter_agent
from streams.dead_letter_count import DeadLetterCount
from streams.due_work import LateWork
from streams.outbox_count import OutboxCount

app = dead_letter_agent("dead_letters", GROUP, DeadLetterStore)


@app.job
async def count() -> None:
    """Keeps the gauges of open dead letters, of outboxes, and of late work."""
    database, seconds = Database(load(PostgresSettings)), load(DlqSettings).count_seconds
    counts = {
        "dead letters": DeadLetterCount(database).count,
        "outbox rows": OutboxCount(database).count,
        "late work": LateWork(database).measure,
    }
    async with asyncio.TaskGroup() as group:
        for name, work in counts.items():
            group.create_task(every(seconds, work, name=f"count of {name}", board=app.board))
