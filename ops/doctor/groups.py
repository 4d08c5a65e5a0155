"""The consumer groups: who reads, how far behind the topic's end, and whether it moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from clients import logs
from clients.log_ends import LogEnds
from config.settings import ArchiveSettings, KafkaSettings, StreamSettings, WarehouseSettings, load
from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.surroundings import ANSWER_SECONDS, Away, Surroundings, aside

# Records that may wait, by agent: the spec's targets ("Detailed Kafka Topic Configuration"), and one for those of ours.
TARGETS = {"warehouse": 1_000, "signals": 500, "digest": 2_000}
OTHERS_TARGET = 1_000
# A partition stands still where its oldest record has waited for so long, and as long as a batch is gathered besides.
STILL_SECONDS = 30.0

NOBODY_READS = Symptom(
    name="group-empty",
    says="nobody reads",
    users="Nothing new of this sink, for example no new pictures or digests; it makes up for it once a worker is "
    "there.",
    do="./run up; ./run logs {agent} (Kubernetes: kubectl get pods -l app=wishlist-{agent})",
    over="The check lag is well.",
    broken=True,
)
STANDS_STILL = Symptom(
    name="partition-stands-still",
    says="records wait and their partition does not move",
    users="What happened to the shares in these partitions does not show in this sink. Nothing is lost.",
    do="./run logs {agent}; where the check processes says stuck: ./run down {agent} && ./run up",
    over="The check lag is well.",
    broken=True,
    alerts=("wishlist-worker-stuck",),
)
BEHIND = Symptom(
    name="group-behind",
    says="more records wait than the target allows",
    users="What this sink makes comes late.",
    do="wait if it falls (ask again: wishlist doctor --only lag); else start a second worker of {agent}, and look at "
    "the "
    "checks postgres and processes for what holds it up",
    over="The check lag is well.",
    alerts=(
        "wishlist-lag-analytics",
        "wishlist-lag-signals",
        "wishlist-lag-digest",
        "wishlist-lag-archive",
        "wishlist-lag-other",
    ),
)
FORGOTTEN = Symptom(
    name="events-forgotten",
    says="the topic has forgotten records that were not read",
    users="What is missing does not show in this sink until it is replayed from the archive.",
    do="wishlist replay {agent}, once the worker runs: the archive has what the topic has not",
    over="The replay ends, and the check lag is well.",
    broken=True,
)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its agent, the topics it reads, records that may wait, seconds for which it gathers a batch."""

    agent: str
    name: str
    topics: Sequence[str]
    target: int
    linger: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition of a group: from *start* to *end* there are records, *position* is the next one to be applied.

    *moved* says how many seconds ago that last changed, *oldest* for how many the first waiting record has been there;
    both None where that is not known.
    """

    topic: str
    partition: int
    start: int
    end: int
    position: int | None
    moved: float | None = None
    oldest: float | None = None

    @property
    def waiting(self) -> int:
        """Records that are not applied."""
        return max(0, self.end - self.next)

    @property
    def next(self) -> int:
        """Where reading goes on."""
        return max(self.start, self.position or 0)

    def stands_still(self, seconds: float) -> bool:
        """Whether records have waited, and nothing has moved, for longer than *seconds*."""
        moved = self.moved is None or self.moved > seconds
        return self.waiting > 0 and moved and self.oldest is not None and self.oldest > seconds


def judge(group: Group, members: int, standing: Sequence[Standing]) -> list[Finding]:
    """What is wrong with *group*; nothing where it is well."""
    found = []
    forgotten = [one for one in standing if one.position is not None and one.position < one.start]
    if forgotten:
        lost = sum(one.start - (one.position or 0) for one in forgotten)
        found.append(FORGOTTEN.found(f"{lost:,} of {group.name}, in {_some(forgotten)}", agent=group.agent))
    waiting = sum(one.waiting for one in standing)
    still = [one for one in standing if one.stands_still(STILL_SECONDS + group.linger)]
    if not members:
        found.append(NOBODY_READS.found(f"{group.name}, {waiting:,} records wait", agent=group.agent))
    elif still:
        oldest = max(one.oldest or 0 for one in still)
        many = sum(one.waiting for one in still)
        words = f"{group.name}, {many:,} records for {ago(oldest)} in {_some(still)}"
        found.append(STANDS_STILL.found(words, agent=group.agent))
    if waiting >= group.target:
        found.append(BEHIND.found(f"{group.name}, {waiting:,} of {group.target:,}", agent=group.agent))
    return found


def groups() -> list[Group]:
    """Every group that there is. A new sink is here as soon as it can be replayed."""
    # Loaded where they are wanted only: Google's libraries take a second.
    from ops.replay.targets import targets
    from sinks import dead_letters

    kafka, suffix = load(KafkaSettings), load(StreamSettings).group_suffix
    warehouse, archive = load(WarehouseSettings), load(ArchiveSettings)
    linger = {
        "warehouse": warehouse.batch_seconds,
        "segment": warehouse.batch_seconds,
        "archive": archive.batch_seconds,
    }
    # The archive's batch is larger than any target: so much waits where all is well.
    wanted = {**TARGETS, "archive": archive.batch_events + OTHERS_TARGET}
    found = [
        Group(agent, one.group + suffix, one.topics(kafka), wanted.get(agent, OTHERS_TARGET), linger.get(agent, 0.0))
        for agent, one in targets().items()
    ]
    return [*found, Group("dead_letters", dead_letters.GROUP + suffix, (kafka.dlq_topic,), OTHERS_TARGET, 0.0)]


async def _look(around: Surroundings) -> Iterable[Finding]:
    every = await aside(groups)
    cluster = await around.cluster()
    partitions = [
        (topic, number)
        for topic in sorted({topic for group in every for topic in group.topics} & cluster.topics.keys())
        for number in cluster.topics[topic].partitions
    ]
    asked = LogEnds(around.kafka)
    rows, ends, starts, members = await asyncio.gather(
        around.rows(
            "SELECT consumer_group, topic, partition, next_offset, "
            "extract(epoch FROM clock_timestamp() - updated_at)::float8 AS moved FROM watermarks"
        ),
        aside(lambda: asked.of(partitions)),
        aside(lambda: asked.starts_of(partitions)),
        around.brokers(lambda admin: _members(admin, [group.name for group in every])),
    )
    if not ends and partitions:
        raise Away("Kafka", "no broker says where the logs end")
    marks = {(row["consumer_group"], row["topic"], row["partition"]): row for row in rows}
    standing: dict[str, list[Standing]] = {group.name: [] for group in every}
    for group in every:
        for topic, number in partitions:
            if topic in group.topics and (topic, number) in ends:
                row = marks.get((group.name, topic, number))
                start = starts.get((topic, number), 0)
                position = None if row is None else row["next_offset"]
                moved = None if row is None else row["moved"]
                standing[group.name].append(Standing(topic, number, start, ends[topic, number], position, moved))
    places = {(one.topic, one.partition, one.next) for ones in standing.values() for one in ones if one.waiting}
    ages = await aside(lambda: _ages(around.kafka, places))
    found = []
    for group in every:
        ones = [_aged(one, ages) for one in standing[group.name]]
        found += judge(group, members.get(group.name, 0), ones)
    most = max((sum(one.waiting for one in ones) for ones in standing.values()), default=0)
    return found or [well(f"{len(every)} groups read, at most {most:,} records wait")]


def _members(admin: AdminClient, names: Sequence[str]) -> dict[str, int]:
    answers = admin.describe_consumer_groups(list(names), request_timeout=ANSWER_SECONDS)
    found = {}
    for name, answer in answers.items():
        try:
            found[name] = len(answer.result(timeout=2 * ANSWER_SECONDS).members)
        except KafkaException:  # a group that never was
            found[name] = 0
    return found


def _aged(one: Standing, ages: Mapping[tuple[str, int, int], float]) -> Standing:
    oldest = ages.get((one.topic, one.partition, one.next))
    return Standing(one.topic, one.partition, one.start, one.end, one.position, one.moved, oldest)


def _ages(kafka: KafkaSettings, places: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int, int], float]:
    """For how many seconds the record at each place has been there; what is not told in time is left out."""
    left = set(places)
    if not left:
        return {}
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            # Required by the client, and never joined: partitions are assigned, nothing is committed.
            "group.id": "wishlist-doctor",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 65_536,
            "log_level": 0,
        },
        logger=logs.librdkafka,
    )
    found: dict[tuple[str, int, int], float] = {}
    give_up = time.monotonic() + ANSWER_SECONDS
    try:
        while left and time.monotonic() < give_up:
            # A partition at a time for each: groups that stand at different places of it take turns.
            turn = {(topic, partition): offset for topic, partition, offset in left}
            left -= {(*place, offset) for place, offset in turn.items()}
            consumer.assign([TopicPartition(*place, offset) for place, offset in turn.items()])
            while turn and time.monotonic() < give_up:
                for message in consumer.consume(1_000, 0.2):
                    topic, partition = message.topic(), message.partition()
                    if message.error() is None and topic is not None and partition is not None:
                        offset = turn.pop((topic, partition), None)
                        if offset is not None:
                            found[topic, partition, offset] = time.time() - message.timestamp()[1] / 1_000
    finally:
        consumer.close()
    return found


def _some(standing: Sequence[Standing], most: int = 4) -> str:
    named = ", ".join(f"{one.topic}[{one.partition}]" for one in standing[:most])
    return named + (f" and {len(standing) - most} more" if len(standing) > most else "")


CHECKS = (
    Check(
        name="lag",
        at="each group's workers, the records that wait for it against its target, and the age of the oldest",
        look=_look,
        symptoms=(NOBODY_READS, STANDS_STILL, BEHIND, FORGOTTEN),
        seconds=15,
    ),
)
