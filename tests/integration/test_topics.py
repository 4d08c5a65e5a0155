"""The broker's topics are those of the spec ("Detailed Kafka Topic Configuration")."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from config.settings import KafkaSettings
from config.topics import topics
from ops.topics import ensure


@pytest.fixture
def kafka() -> Iterator[KafkaSettings]:
    name = f"topics-{uuid4().hex[:12]}"
    settings = KafkaSettings(events_topic=name, dlq_topic=f"{name}.dlq", segment_topic=f"{name}.segment")
    yield settings
    names = [settings.events_topic, settings.segment_topic, settings.dlq_topic]
    AdminClient({"bootstrap.servers": settings.bootstrap_servers}).delete_topics(names)


def settings_of(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(timeout=20)
    return {name: entry.value for name, entry in entries.items()}


def partitions_of(kafka: KafkaSettings, topic: str) -> int:
    """How many; a broker may hear of a topic a moment after it was made."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    give_up = time.monotonic() + 10
    while not (found := len(admin.list_topics(topic, timeout=10).topics[topic].partitions)):
        assert time.monotonic() < give_up, f"{topic} has no partitions"
        time.sleep(0.1)
    return found


def test_the_events_topic(kafka: KafkaSettings) -> None:
    list(ensure(kafka))
    assert partitions_of(kafka, kafka.events_topic) == 12
    found = settings_of(kafka, kafka.events_topic)
    assert found["retention.ms"] == str(30 * 24 * 3_600 * 1_000)
    assert found["retention.bytes"] == "-1"
    assert found["compression.type"] == "lz4"
    assert found["cleanup.policy"] == "delete"
    assert found["max.message.bytes"] == str(1024 * 1024)
    assert found["segment.bytes"] == str(1024**3)
    assert found["min.insync.replicas"] == str(kafka.min_insync_replicas)


def test_the_dead_letter_topic(kafka: KafkaSettings) -> None:
    list(ensure(kafka))
    assert partitions_of(kafka, kafka.dlq_topic) == 3
    found = settings_of(kafka, kafka.dlq_topic)
    assert found["retention.ms"] == str(7 * 24 * 3_600 * 1_000)
    assert found["max.message.bytes"] == str(2 * 1024 * 1024)
    assert found["cleanup.policy"] == "delete"


def test_the_topic_of_segments_messages(kafka: KafkaSettings) -> None:
    list(ensure(kafka))
    assert partitions_of(kafka, kafka.segment_topic) == 6
    found = settings_of(kafka, kafka.segment_topic)
    assert found["retention.ms"] == str(30 * 24 * 3_600 * 1_000)
    assert found["compression.type"] == "lz4"


def test_making_them_again_changes_nothing_even_by_several_at_once(kafka: KafkaSettings) -> None:
    names = [kafka.events_topic, kafka.segment_topic, kafka.dlq_topic]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: list(ensure(kafka)), range(3)))
    for lines in answers:
        assert {line.replace("created ", "").replace(" is there", "") for line in lines} == set(names)
    assert list(ensure(kafka)) == [f"{name} is there" for name in names]


def test_production_keeps_three_copies_and_needs_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_REPLICATION_FACTOR", "KAFKA_MIN_INSYNC_REPLICAS"):
        monkeypatch.delenv(name, raising=False)
    kafka = KafkaSettings()
    assert (kafka.replication_factor, kafka.events_topic) == (3, "wishlist.social.events")
    assert kafka.dlq_topic == "wishlist.social.events.dlq"
    assert {topic.settings["min.insync.replicas"] for topic in topics(kafka)} == {"2"}
