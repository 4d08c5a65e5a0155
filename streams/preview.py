"""Agent ``preview``: share events become pictures, by way of rows that a relay works off."""

from __future__ import annotations

from clients.postgres import Database
from config.settings import KafkaSettings, PostgresSettings, RendererSettings, StreamSettings, load
from schemas.codec import Codec, load_schemas
from sinks.previews import GROUP, PreviewQueue
from streams.application import build_app, topic_ids
from streams.decoding import share_events
from streams.dlq import DeadLetterWriter
from streams.engine import Engine
from streams.preview_relay import PreviewRelay

kafka = load(KafkaSettings)
database = Database(load(PostgresSettings))


def engine() -> Engine:
    """The agent's parts, put together."""
    return Engine(
        sink=PreviewQueue(database),
        decode=share_events(Codec(load_schemas()), GROUP),
        dead_letters=DeadLetterWriter(kafka),
        settings=load(StreamSettings),
        topic_ids=topic_ids(kafka),
    )


app = build_app("preview", GROUP, kafka.events_topic, engine)


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Works off the rows that this worker, or another, has written."""
    await PreviewRelay(database, load(RendererSettings)).run()
