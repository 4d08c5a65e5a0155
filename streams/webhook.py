"""Agent ``webhook``: owners with a webhook are called about each event of their own shares."""

from __future__ import annotations

from contextlib import aclosing

from clients.periodic import every
from clients.postgres import Database
from clients.webhook_call import WebhookCaller
from config.settings import PostgresSettings, WebhookSettings, load
from sinks.webhook import GROUP, WebhookQueue
from streams.application import share_event_agent
from streams.outbox.worker import OutboxWorker
from streams.webhooks.calling import WebhookOutbox
from streams.webhooks.maintenance import EVERY_SECONDS, WebhookMaintenance

settings = load(WebhookSettings)
app = share_event_agent("webhook", GROUP, lambda database, group: WebhookQueue(database, group, settings))
database = Database(load(PostgresSettings))


@app.job
async def call() -> None:
    """Makes the calls that are due."""
    async with aclosing(WebhookCaller(settings)) as caller:
        await OutboxWorker(WebhookOutbox(settings, caller), database, app.board).run()


@app.job
async def maintain() -> None:
    """Gives up calls that are too late, and forgets those that are long done."""
    work = WebhookMaintenance(database, settings).round
    await every(EVERY_SECONDS, work, name="webhook maintenance", board=app.board)
