"""Takes records through a sink on a lane of its own, by the engine that the agents use.

The lane's watermarks are kept like any group's: a replay that was ended early goes on where it stood.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from uuid import UUID

from aiokafka.structs import ConsumerRecord
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from clients import logs
from config.settings import KafkaSettings, StreamSettings
from ops.replay.plan import Stretch
from sinks.contract import Sink
from streams.dlq import DeadLetterWriter
from streams.engine import Decode, Engine
from streams.transport import Fetched

_AT_ONCE = 2_000
_POLL_SECONDS = 0.2


class ReplayStopped(Exception):
    """The replay cannot go on; says why."""


class Pace:
    """Holds a stream of records to so many a second, seen over all of it."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._began: float | None = None
        self._passed = 0

    def ahead(self, records: int) -> float:
        """Seconds by which *records* more are too early."""
        self._began = self._clock() if self._began is None else self._began
        self._passed += records
        return max(0.0, self._passed / self._per_second - (self._clock() - self._began))


class _Log:
    """What the engine asks a consumer: the log, as far as this replay is concerned."""

    def __init__(self, stretches: Mapping[TP, Stretch]) -> None:
        self._stretches = stretches

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        return {tp: self._stretches[tp].begin for tp in partitions}

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return {tp: self._stretches[tp].end for tp in partitions}


class Lane:
    """One run of records of a topic into *sink*."""

    def __init__(
        self,
        *,
        sink: Sink,
        decode: Decode,
        kafka: KafkaSettings,
        dead_letters: DeadLetterWriter,
        settings: StreamSettings,
        stretches: Sequence[Stretch],
        pace: Pace,
    ) -> None:
        self._stretches = {TP(one.topic, one.partition): one for one in stretches}
        ids: dict[str, UUID] = {one.topic: one.topic_id for one in stretches}
        self._engine = Engine(
            sink=sink,
            decode=decode,
            dead_letters=dead_letters,
            settings=settings,
            topic_ids=lambda topic: ids[topic],
        )
        self._kafka = kafka
        self._pace = pace
        self._fenced = False

    async def run(self) -> None:
        """Until every stretch is applied; raises :class:`ReplayStopped`."""
        if not self._stretches:
            return
        positions = await self._engine.seek_positions(_Log(self._stretches), set(self._stretches))
        self._check()
        await self._engine.settle(self._fetch(positions), self._fence)

    async def _fence(self) -> None:
        self._fenced = True

    def _check(self) -> None:
        if self._engine.stopped:
            raise ReplayStopped(self._engine.stopped)
        if self._fenced:
            raise ReplayStopped("another replay is at work on the same lane")

    @property
    def waiting(self) -> str | None:
        """What it waits for, where something is away."""
        return self._engine.waiting

    @property
    def done(self) -> int:
        """How many of the stretches' offsets are applied."""
        marks = {tp: self._engine.watermark(tp) for tp in self._stretches}
        return sum(
            min(mark, stretch.end) - stretch.begin
            for tp, stretch in self._stretches.items()
            if (mark := marks[tp]) is not None
        )

    async def _fetch(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched]:
        at = {tp: offset for tp, offset in positions.items() if offset < self._stretches[tp].end}
        consumer = _consumer(self._kafka)
        try:
            consumer.assign([TopicPartition(tp.topic, tp.partition, offset) for tp, offset in at.items()])
            while at:
                messages = await asyncio.to_thread(consumer.consume, _AT_ONCE, _POLL_SECONDS)
                for fetched in self._sorted(messages, at):
                    yield fetched
                    if fetched.end >= self._stretches[fetched.tp].end:
                        del at[fetched.tp]
                        consumer.incremental_unassign([TopicPartition(fetched.tp.topic, fetched.tp.partition)])
                    await asyncio.sleep(self._pace.ahead(len(fetched.records)))
                self._check()
            # What is read is applied before the engine hears that there is no more.
            while any((self._engine.watermark(tp) or 0) < one.end for tp, one in self._stretches.items()):
                await asyncio.sleep(_POLL_SECONDS / 4)
                self._check()
        finally:
            consumer.close()

    def _sorted(self, messages: Sequence[Message], at: dict[TP, int]) -> list[Fetched]:
        """What *messages* bring of each partition that is still read, from where it stood."""
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
            end = self._stretches[tp].end
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
