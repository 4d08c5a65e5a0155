"""The brokers and the topics' settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, without saying so
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    ResourceType,
)

from config.topics import Topic, topics
from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import ANSWER_SECONDS, Surroundings

KAFKA_AWAY = Symptom(
    name="kafka-away",
    says="no broker answers",
    users="Shares are made, viewed and revoked as before: their events wait in the outbox. Statistics, digests, pushes "
    "and pictures come late. Views of an API process that is killed meanwhile are lost.",
    do="start the brokers (./run up; kafka-broker-api-versions.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS says "
    "who answers), then "
    "wait: the outbox empties itself, in order",
    over="The checks brokers, lag and outbox are well.",
    broken=True,
    alerts=("wishlist-kafka-errors", "wishlist-kafka-away"),
    page="P2, platform-oncall, where it lasts longer than 30 minutes",
)
OFFLINE = Symptom(
    name="partitions-offline",
    says="partitions without a leader",
    users="Events of the shares in these partitions wait in the outbox; the rest goes on.",
    do="start the brokers that are missing; kafka-topics.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --describe "
    "--unavailable-partitions names what is left",
    over="The check names no partition.",
    broken=True,
    alerts=("wishlist-kafka-errors", "wishlist-kafka-away"),
    page="P2, platform-oncall, where it lasts longer than 30 minutes",
)
UNDER_MIN = Symptom(
    name="partitions-under-min-isr",
    says="partitions with fewer copies in sync than min.insync.replicas",
    users="As with partitions without a leader: nothing can be appended to them, events wait in the outbox.",
    do="start the brokers that are missing; kafka-topics.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --describe "
    "--under-min-isr-partitions names what is left",
    over="The check names no partition.",
    broken=True,
    alerts=("wishlist-kafka-errors", "wishlist-kafka-away"),
    page="P2, platform-oncall, where it lasts longer than 30 minutes",
)
UNDER_REPLICATED = Symptom(
    name="partitions-under-replicated",
    says="partitions with copies out of sync",
    users="None. One more broker lost, and events would wait in the outbox.",
    do="start the brokers that are missing, and give the copies time to catch up; kafka-topics.sh --bootstrap-server "
    "$KAFKA_BOOTSTRAP_SERVERS --describe --under-replicated-partitions",
    over="Each partition has all of its copies in sync.",
)
TOPIC_MISSING = Symptom(
    name="topic-missing",
    says="a topic is missing",
    users="What goes through it waits in the outbox, or for dead letters: its group waits.",
    do="wishlist topics",
    over="The check topics is well.",
    broken=True,
)
TOPIC_DIFFERS = Symptom(
    name="topic-differs",
    says="a topic is not as config/topics.py has it",
    users="None now. Shorter retention loses what a long outage or a redrive would need; other partitions change which "
    "events keep their order.",
    do="{command}",
    over="The check topics is well.",
)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition of a topic of ours: the brokers that have copies, and those whose copies are in sync."""

    topic: str
    number: int
    leader: int
    replicas: Sequence[int]
    in_sync: Sequence[int]

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


def judge_partitions(
    partitions: Sequence[PartitionState], brokers: Iterable[int], least_in_sync: int
) -> Iterable[Finding]:
    """What the cluster's own description says of our partitions, worst first; a partition is named once."""
    alive = set(brokers)
    offline = [one for one in partitions if one.leader not in alive]
    # A topic with fewer copies than that says so by the check of its settings.
    under_min = [
        one for one in partitions if one not in offline and len(one.in_sync) < min(least_in_sync, len(one.replicas))
    ]
    under = [one for one in partitions if one not in offline + under_min and len(one.in_sync) < len(one.replicas)]
    missing = sorted({broker for one in partitions for broker in one.replicas} - alive)
    who = f"; missing brokers: {', '.join(map(str, missing))}" if missing else ""
    for symptom, found in ((OFFLINE, offline), (UNDER_MIN, under_min), (UNDER_REPLICATED, under)):
        if found:
            yield symptom.found(f"{_some(found)}{who}")
    if not offline and not under_min and not under:
        yield well(f"{len(alive)} of {len(alive)} brokers, {len(partitions)} partitions, every copy in sync")


def judge_topic(
    topic: Topic, partitions: int, copies: int, wanted_copies: int, held: Mapping[str, str]
) -> list[Finding]:
    """How *topic* differs from what config/topics.py says, with the command that mends each difference."""
    found = []
    differing = {name: value for name, value in topic.settings.items() if held.get(name) != value}
    if differing:
        words = ", ".join(f"{name} is {held.get(name, 'unset')}, not {value}" for name, value in differing.items())
        change = ",".join(f"{name}={value}" for name, value in differing.items())
        command = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} --add-config {change}"
        found.append(TOPIC_DIFFERS.found(f"{topic.name}: {words}", command=command))
    if partitions < topic.partitions:
        command = f"kafka-topics.sh --alter --topic {topic.name} --partitions {topic.partitions}"
        found.append(
            TOPIC_DIFFERS.found(f"{topic.name} has {partitions} partitions, not {topic.partitions}", command=command)
        )
    elif partitions > topic.partitions:
        command = "none: partitions cannot be taken away; write their number into config/topics.py"
        found.append(
            TOPIC_DIFFERS.found(f"{topic.name} has {partitions} partitions, not {topic.partitions}", command=command)
        )
    if copies < wanted_copies:
        command = f"kafka-reassign-partitions.sh, with {wanted_copies} copies of each partition of {topic.name}"
        found.append(TOPIC_DIFFERS.found(f"{topic.name} has {copies} copies, not {wanted_copies}", command=command))
    return found


async def _brokers(around: Surroundings) -> Iterable[Finding]:
    cluster = await around.cluster()
    names = {topic.name for topic in topics(around.kafka)} & cluster.topics.keys()
    states = [
        PartitionState(name, number, one.leader, one.replicas, one.isrs)
        for name in sorted(names)
        for number, one in sorted(cluster.topics[name].partitions.items())
    ]
    return judge_partitions(states, cluster.brokers, around.kafka.min_insync_replicas)


async def _topics(around: Surroundings) -> Iterable[Finding]:
    cluster = await around.cluster()
    wanted = topics(around.kafka)
    there = [topic for topic in wanted if topic.name in cluster.topics and cluster.topics[topic.name].partitions]
    held = await around.brokers(lambda admin: _settings_of(admin, [topic.name for topic in there]))
    found = [TOPIC_MISSING.found(topic.name) for topic in wanted if topic not in there]
    for topic in there:
        found += judge_topic(topic, *_shape(cluster, topic.name), around.kafka.replication_factor, held[topic.name])
    return found or [well(", ".join(topic.name for topic in wanted))]


def _shape(cluster: ClusterMetadata, topic: str) -> tuple[int, int]:
    partitions = cluster.topics[topic].partitions
    return len(partitions), min(len(one.replicas) for one in partitions.values())


def _settings_of(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=ANSWER_SECONDS
    )
    answers = {resource.name: answer.result(timeout=2 * ANSWER_SECONDS) for resource, answer in asked.items()}
    return {name: {key: entry.value for key, entry in answer.items()} for name, answer in answers.items()}


def _some(partitions: Sequence[PartitionState], most: int = 6) -> str:
    named = ", ".join(map(str, partitions[:most]))
    return f"{len(partitions)}: {named}" + (", …" if len(partitions) > most else "")


CHECKS = (
    Check(
        name="brokers",
        at="the brokers; each partition's leader and copies",
        look=_brokers,
        away=KAFKA_AWAY,
        symptoms=(OFFLINE, UNDER_MIN, UNDER_REPLICATED),
    ),
    Check(
        name="topics",
        at="partitions and settings of our topics, against config/topics.py",
        look=_topics,
        symptoms=(TOPIC_MISSING, TOPIC_DIFFERS),
    ),
)
