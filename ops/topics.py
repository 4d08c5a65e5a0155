"""Creates the topics of ``config/topics.py``."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported at run time

from clients import logs
from config.settings import KafkaSettings
from config.topics import topics

_ANSWER_SECONDS = 10.0


def brokers(kafka: KafkaSettings) -> AdminClient:
    """A client of the brokers, once one of them has answered. Raises :class:`confluent_kafka.KafkaException`."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}, logger=logs.librdkafka)
    # Whatever else is asked of brokers that are away is retried for longer than anybody waits.
    admin.list_topics(timeout=_ANSWER_SECONDS)
    return admin


def ensure(kafka: KafkaSettings) -> Iterator[str]:
    """Create what is missing; yields a line for each topic. Safe to call again, by several at once."""
    admin = brokers(kafka)
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=kafka.replication_factor,
            config=topic.settings,
        )
        for topic in topics(kafka)
    ]
    for name, created in admin.create_topics(wanted, operation_timeout=20).items():
        try:
            created.result(timeout=30)
            yield f"created {name}"
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            yield f"{name} is there"
