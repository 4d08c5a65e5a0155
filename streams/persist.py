"""Agent ``persist``: share events become rows in PostgreSQL, and shares whose time is over are announced as expired."""

from __future__ import annotations

from clients import outbox
from clients.log_ends import LogEnds
from clients.periodic import every
from clients.postgres import Database
from clients.producer import EventProducer
from clients.registry import open_codec
from config.settings import ExpirySettings, KafkaSettings, PostgresSettings, load
from sinks.share_store import GROUP, ShareStore
from streams.application import share_event_agent
from streams.shares.expiry import ExpirySweep

app = share_event_agent("persist", GROUP, ShareStore)
kafka = load(KafkaSettings)
codec = open_codec(kafka)
database = Database(load(PostgresSettings))


@app.job
async def expire() -> None:
    """Puts expiries into the outbox."""
    settings = load(ExpirySettings)
    sweep = ExpirySweep(
        database=database,
        codec=codec,
        ends=LogEnds(kafka),
        topic=kafka.events_topic,
        group=app.delivery.group,
        settings=settings,
    )
    await every(settings.every_seconds, sweep.sweep, name="expiry sweep", board=app.board)


@app.job
async def relay() -> None:
    """Sends the outbox, as the API's processes do: one at a time."""
    producer = EventProducer(kafka, codec)
    await producer.start()
    try:
        work = outbox.OutboxRelay(await database.pool(), producer).round
        await every(outbox.EVERY_SECONDS, work, name="event outbox", board=app.board)
    finally:
        await producer.close()
