"""Agent ``persist``: share events become rows in PostgreSQL."""

from __future__ import annotations

from clients.postgres import Database
from config.settings import KafkaSettings, PostgresSettings, StreamSettings, load
from schemas.codec import Codec, load_schemas
from sinks.share_store import GROUP, ShareStore
from streams.application import build_app, topic_ids
from streams.decoding import share_events
from streams.dlq import DeadLetterWriter
from streams.engine import Engine

kafka = load(KafkaSettings)


def engine() -> Engine:
    """The agent's parts, put together."""
    return Engine(
        sink=ShareStore(Database(load(PostgresSettings))),
        decode=share_events(Codec(load_schemas()), GROUP),
        dead_letters=DeadLetterWriter(kafka),
        settings=load(StreamSettings),
        topic_ids=topic_ids(kafka),
    )


app = build_app("persist", GROUP, kafka.events_topic, engine)
