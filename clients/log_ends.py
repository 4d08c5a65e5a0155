"""Where the topics' logs end, asked of the brokers on a connection of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import cached_property

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, without saying so

from clients import logs
from config.settings import KafkaSettings

_ANSWER_SECONDS = 5.0
_SLOW_SECONDS = 1.0


class LogEnds:
    """Asks for the next offset that each partition will give, or its first; what no broker tells in 5 s is left out."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def of(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """The ends of *partitions*, each a topic and a number. Blocks: for threads."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def starts_of(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """The first offset that each of *partitions* still has. Blocks: for threads."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def _offsets(self, partitions: Iterable[tuple[str, int]], which: OffsetSpec) -> Mapping[tuple[str, int], int]:
        asked = {TopicPartition(topic, number): which for topic, number in partitions}
        if not asked:
            return {}
        found, began = {}, time.monotonic()
        for partition, answer in self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS).items():
            try:
                found[partition.topic, partition.partition] = answer.result(timeout=2 * _ANSWER_SECONDS).offset
            except (KafkaException, TimeoutError):
                continue
        if time.monotonic() - began > _SLOW_SECONDS:
            # librdkafka goes on asking a broker that has died, and believes for minutes that it still leads.
            self.__dict__.pop("_admin", None)
        return found

    async def of_topic(self, topic: str) -> Mapping[int, int] | None:
        """The ends of all partitions of *topic*; None where one of them is not known."""
        return await asyncio.to_thread(self._of_topic, topic)

    def _of_topic(self, topic: str) -> Mapping[int, int] | None:
        try:
            described = self._admin.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
        except KafkaException:
            return None
        ends = self.of((topic, number) for number in described.partitions)
        if described.error is not None or len(ends) < len(described.partitions):
            return None
        return {number: end for (_, number), end in ends.items()}

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._kafka.bootstrap_servers}, logger=logs.librdkafka)
