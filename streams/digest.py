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
from streams.digest_close import DigestCloser
from streams.digest_relay import DigestRelay

app = share_event_agent("digest", GROUP, DigestCounts)
database = Database(load(PostgresSettings))
settings = load(DigestSettings)


@app.task  # type: ignore[untyped-decorator]
async def close_days() -> None:
    """Writes the digests of owners whose day closes."""
    await DigestCloser(database, settings).run()


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Sends what the outbox holds."""
    url = load(ApiSettings).public_url
    links = UnsubscribeLinks(load(UnsubscribeSettings), url)
    await DigestRelay(database, settings, NotificationQueue(load(QueueSettings)), links, url).run()
