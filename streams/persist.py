"""Agent ``persist``: share events become rows in PostgreSQL, and shares whose time is over are announced as expired."""

from __future__ import annotations

from clients.log_ends import LogEnds
from clients.outbox import OutboxRelay
from clients.postgres import Database
from clients.producer import EventProducer
from clients.registry import open_codec
from config.settings import ExpirySettings, KafkaSettings, PostgresSettings, load
from sinks.share_store import GROUP, ShareStore
from streams.application import share_event_agent
from streams.expiry_sweep import ExpirySweep

app = share_event_agent("persist", GROUP, ShareStore)
kafka = load(KafkaSettings)
codec = open_codec(kafka)
database = Database(load(PostgresSettings))


@app.task  # type: ignore[untyped-decorator]
async def sweep() -> None:
    """Puts expiries into the outbox."""
    await ExpirySweep(
        database=database,
        codec=codec,
        ends=LogEnds(kafka),
        topic=kafka.events_topic,
        group=app.delivery.group,
        settings=load(ExpirySettings),
    ).run()


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Sends the outbox, as the API's processes do: one at a time, whoever is there."""
    producer = EventProducer(kafka, codec)
    await producer.start()
    try:
        await OutboxRelay(await database.pool(), producer).run()
    finally:
        await producer.close()
