"""What a replay will read: which offsets of which partitions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from confluent_kafka import Consumer, TopicPartition

from clients import logs
from config.settings import KafkaSettings

EARLIEST = "earliest"
_OFFSETS = re.compile(r"\d+:\d+(,\d+:\d+)*")
_TIMEOUT = 10.0


class BadStart(ValueError):
    """No moment and no offsets."""


@dataclass(frozen=True)
class Start:
    """Where to begin: at the log's start, at a moment (aware), or at an offset of each partition that is named."""

    moment: datetime | None = None
    offsets: Mapping[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Start:
        """``earliest``, an ISO 8601 moment (UTC unless it says) or ``0:1200,3:50``; raises :class:`BadStart`."""
        if text == EARLIEST:
            return cls()
        if _OFFSETS.fullmatch(text):
            pairs = (pair.split(":") for pair in text.split(","))
            return cls(offsets={int(partition): int(offset) for partition, offset in pairs})
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise BadStart(text) from None
        return cls(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@dataclass(frozen=True)
class Stretch:
    """Offsets *begin* to *end* (exclusive) of one partition of the topic with that id."""

    topic: str
    topic_id: UUID
    partition: int
    begin: int
    end: int
    count: int | None = None

    @property
    def records(self) -> int:
        """How many there are: *count* where that is known, else one for each offset, the log's gaps included."""
        return self.end - self.begin if self.count is None else self.count


class TopicLog:
    """What the brokers hold."""

    def __init__(self, kafka: KafkaSettings) -> None:
        settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "wishlist-replay"}
        self._consumer = Consumer({**settings, "enable.auto.commit": False}, logger=logs.librdkafka)

    def stretches(
        self, topic: str, topic_id: UUID, start: Start, applied: Mapping[int, int]
    ) -> tuple[list[Stretch], dict[int, int]]:
        """From *start* to what the group has *applied*: there its agent goes on. And where each partition begins."""
        found: list[Stretch] = []
        firsts: dict[int, int] = {}
        partitions = sorted(self._consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions)
        moments = self._at(topic, partitions, start.moment)
        for number in partitions:
            first, last = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT)
            firsts[number] = first
            end = min(last, applied.get(number, last))
            if start.offsets is not None:
                begin = max(first, start.offsets.get(number, end))
            else:
                begin = first if moments is None else moments.get(number, last)
            if begin < end:
                found.append(Stretch(topic, topic_id, number, begin, end))
        return found, firsts

    def close(self) -> None:
        """Let go of the brokers."""
        self._consumer.close()

    def _at(self, topic: str, partitions: Sequence[int], moment: datetime | None) -> dict[int, int] | None:
        if moment is None:
            return None
        asked = [TopicPartition(topic, number, int(moment.timestamp() * 1000)) for number in partitions]
        # An offset below zero says that nothing is as young as that.
        return {found.partition: found.offset for found in self._consumer.offsets_for_times(asked, timeout=_TIMEOUT)
                if found.offset >= 0}  # fmt: skip
