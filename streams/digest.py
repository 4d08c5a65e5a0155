"""Agent ``digest``: people's views and added items become one digest a day for each owner, at nine by their clock."""

from __future__ import annotations

from clients.postgres import Database
from clients.queue import NotificationQueue
from clients.unsubscribe import UnsubscribeLinks
from config.settings import (
    ApiSettings,
    DigestSettings,
    PostgresSettings,
    QueueSettings,
    UnsubscribeSettings,
    load,
)
from sinks.digest import GROUP, DigestCounts
from streams.application import share_event_agent
from streams.digests.closing import ClosingOutbox
from streams.digests.sending import DigestOutbox
from streams.outbox.worker import OutboxWorker

app = share_event_agent("digest", GROUP, DigestCounts)
database = Database(load(PostgresSettings))
settings = load(DigestSettings)


@app.job
async def close_days() -> None:
    """Writes the digests of owners whose day closes."""
    await OutboxWorker(ClosingOutbox(database, settings), database, app.board).run()


@app.job
async def send() -> None:
    """Sends the digests that are written."""
    url = load(ApiSettings).public_url
    links = UnsubscribeLinks(load(UnsubscribeSettings), url)
    outbox = DigestOutbox(settings, NotificationQueue(load(QueueSettings)), links, url)
    await OutboxWorker(outbox, database, app.board).run()
