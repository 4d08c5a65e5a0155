"""Agent ``dead_letters``: what lies in the DLQ becomes rows that outlive the topic's 7 days."""

from __future__ import annotations

from clients.postgres import Database
from config.settings import KafkaSettings, PostgresSettings, StreamSettings, load
from sinks.dead_letters import GROUP, DeadLetterStore
from streams.application import build_app, topic_ids
from streams.decoding import dead_letter
from streams.engine import Engine

kafka = load(KafkaSettings)


def engine() -> Engine:
    """The agent's parts, put together. A dead letter that cannot be kept stops the group: there is no second DLQ."""
    settings = load(StreamSettings)
    return Engine(
        sink=DeadLetterStore(Database(load(PostgresSettings))),
        decode=dead_letter,
        dead_letters=None,
        settings=settings.model_copy(update={"max_event_bytes": 100_000_000}),
        topic_ids=topic_ids(kafka),
    )


app = build_app("dead_letters", GROUP, kafka.dlq_topic, engine)
