"""Kafka topics as data (spec, "Detailed Kafka Topic Configuration")."""

from __future__ import annotations

from dataclasses import dataclass, field

from config.settings import KafkaSettings

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """One topic: its name, its partitions and the broker-side settings that differ from the defaults."""

    name: str
    partitions: int
    settings: dict[str, str] = field(default_factory=dict)


def topics(kafka: KafkaSettings) -> tuple[Topic, ...]:
    """The events topic (12 partitions, 30 days, lz4, 1 MB), Segment messages (6, 30 days), dead letters (3, 7 days)."""
    durable = {"min.insync.replicas": str(kafka.min_insync_replicas), "cleanup.policy": "delete"}
    return (
        Topic(
            kafka.events_topic,
            12,
            {
                **durable,
                "retention.ms": str(30 * DAY_MS),
                "retention.bytes": "-1",
                "compression.type": "lz4",
                "max.message.bytes": "1048576",
                "segment.bytes": str(1 << 30),
            },
        ),
        Topic(
            kafka.segment_topic,
            6,
            {**durable, "retention.ms": str(30 * DAY_MS), "compression.type": "lz4"},
        ),
        Topic(
            kafka.dlq_topic,
            3,
            {**durable, "retention.ms": str(7 * DAY_MS), "max.message.bytes": str(2 << 20)},
        ),
    )
