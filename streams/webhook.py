"""Agent ``webhook``: who asked for it is called about each event of their own shares."""

from __future__ import annotations

from contextlib import aclosing

from clients.postgres import Database
from clients.webhook_call import WebhookCaller
from config.settings import PostgresSettings, WebhookSettings, load
from sinks.webhook import GROUP, WebhookQueue
from streams.application import share_event_agent
from streams.webhook_relay import WebhookRelay
from streams.webhook_upkeep import WebhookUpkeep

settings = load(WebhookSettings)
app = share_event_agent("webhook", GROUP, lambda database, group: WebhookQueue(database, group, settings))
database = Database(load(PostgresSettings))


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Delivers what is due."""
    async with aclosing(WebhookCaller(settings)) as caller:
        await WebhookRelay(database, settings, caller).run()


@app.task  # type: ignore[untyped-decorator]
async def upkeep() -> None:
    """Gives up what is too late, and forgets what is long done."""
    await WebhookUpkeep(database, settings).run()
