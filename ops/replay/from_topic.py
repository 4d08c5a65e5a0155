"""Reads stretches of topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka.structs import ConsumerRecord
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from clients import logs
from config.settings import KafkaSettings
from ops.replay.lane import ReplayStopped
from ops.replay.plan import Stretch
from streams.transport import Fetched

_POLL_SECONDS = 0.2


class TopicSource:
    """See :class:`ops.replay.lane.Source`."""

    def __init__(self, kafka: KafkaSettings, stretches: Sequence[Stretch], at_once: int = 2_000) -> None:
        """*at_once*: so many records are taken from the brokers together."""
        self._kafka = kafka
        self._at_once = at_once
        self.stretches = {TP(one.topic, one.partition): one for one in stretches}

    def done(self, marks: Mapping[TP, int]) -> int:
        """How many of the stretches' offsets lie behind *marks*."""
        return sum(min(mark, self.stretches[tp].end) - self.stretches[tp].begin for tp, mark in marks.items())

    async def read(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched | None]:
        """See :meth:`ops.replay.lane.Source.read`."""
        at = {tp: offset for tp, offset in positions.items() if offset < self.stretches[tp].end}
        consumer = _consumer(self._kafka)
        try:
            consumer.assign([TopicPartition(tp.topic, tp.partition, offset) for tp, offset in at.items()])
            while at:
                for fetched in await asyncio.to_thread(self._take, consumer, at):
                    yield fetched
                    if fetched.end >= self.stretches[fetched.tp].end:
                        del at[fetched.tp]
                        consumer.incremental_unassign([TopicPartition(fetched.tp.topic, fetched.tp.partition)])
                yield None
        finally:
            consumer.close()

    def _take(self, consumer: Consumer, at: dict[TP, int]) -> list[Fetched]:
        """What the brokers bring of each partition that is still read, from where it stood."""
        messages: Sequence[Message] = consumer.consume(self._at_once, _POLL_SECONDS)
        by_partition: dict[TP, list[ConsumerRecord]] = {}
        ends: dict[TP, int] = {}
        for message in messages:
            tp = TP(str(message.topic()), int(message.partition() or 0))
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise ReplayStopped(f"{tp.topic}[{tp.partition}]: {error.str()}")
            offset = message.offset()
            if tp not in at or offset is None:
                continue
            end = self.stretches[tp].end
            if error is not None or offset >= end:
                # Nothing is left of the stretch, if only because the log has a gap there.
                ends[tp] = end
            else:
                by_partition.setdefault(tp, []).append(_record(message))
                ends[tp] = offset + 1
        fetched = []
        for tp, end in ends.items():
            if end > at[tp]:
                fetched.append(Fetched(tp, at[tp], end, by_partition.get(tp, [])))
                at[tp] = end
        return fetched


def _consumer(kafka: KafkaSettings) -> Consumer:
    settings = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": "wishlist-replay",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": 32_768,
    }
    return Consumer(settings, logger=logs.librdkafka)


def _record(message: Message) -> ConsumerRecord:
    kind, timestamp = message.timestamp()
    return ConsumerRecord(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp=timestamp,
        timestamp_type=kind,
        key=message.key(),
        value=message.value(),
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=tuple(message.headers() or ()),
    )
