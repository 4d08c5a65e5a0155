"""Faust's aiokafka transport, changed in four ways and no other (docs/architecture.md, "Delivery").

1. One message is all records that a fetch returned for a partition, not one record.
2. The sink says where reading begins.
3. Kafka is told what the sink has applied, not what Faust has acknowledged.
4. A group that could not be joined is joined again, whatever the broker said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from clients.logs import get_logger

BACKLOG_RECORDS = 200
"""A fetch of so many records shows that there is more to read than comes in."""
_ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """The records of one fetch of one partition.

    ``start`` is where the reader stood before it and ``end`` where it stood after it: offsets between records may be
    missing (transactions' marks, compaction), but a ``start`` that is not the last ``end`` is a hole.
    """

    tp: TP
    start: int
    end: int
    records: Sequence[ConsumerRecord]


class Positions(Protocol):
    """What the transport asks of delivery."""

    @property
    def pace_seconds(self) -> float:
        """Shortest time from one fetch to the next."""
        ...

    async def seek_positions(self, consumer: driver.Consumer, assigned: set[TP]) -> Mapping[TP, int]:
        """Where to begin each partition; remembers it as the position sought."""
        ...

    def watermark(self, tp: TP) -> int | None:
        """The next offset that the sink is known to have reached."""
        ...


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Hands out one :class:`Fetched` a partition.

    Fetches and seeks both run in this thread, so the chain of starts and ends tells exactly what was read.
    """

    pace_seconds = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._chain: dict[Any, int] = {}
        self._next_fetch = 0.0

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[TP, list[Fetched]]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_fetch - loop.time()))
        records = await super()._fetch_records(*args, **kwargs)
        state = self._ensure_consumer()._subscription.subscription.assignment
        fetched = {}
        for tp, of_partition in records.items():
            end = state.state_value(tp).position
            start = self._chain.get(tp, of_partition[0].offset)
            self._chain[tp] = end
            fetched[tp] = [Fetched(TP(tp.topic, tp.partition), start, end, of_partition)]
        # What comes meanwhile is handed over together: a stream of single events is not a transaction each, and costs
        # Faust and the broker a third. An event after a pause goes on at once, and so does a backlog: it comes in
        # large fetches as it is.
        if sum(map(len, records.values())) < BACKLOG_RECORDS:
            self._next_fetch = loop.time() + self.pace_seconds
        return fetched

    @Service.task
    async def _ask_for_errors(self) -> None:
        """Have aiokafka go on after an error of the group that it does not know, as a new member.

        It knows no FENCED_INSTANCE_ID (KIP-345), which a worker with an instance id hears of itself where the answer to
        its joining was lost with a broker. After such an error it waits until somebody has asked for it, as its
        ``getmany`` does; Faust reads past that, and the worker stood still for good.
        """
        async for _ in self.itertimer(_ASK_SECONDS):
            coordinator = self._ensure_consumer()._coordinator
            try:
                coordinator.check_errors()
            except KafkaError as error:
                if coordinator._coordination_task.done():
                    raise  # Nobody is left to go on: the worker ends, and is started again.
                get_logger().warning("the group is joined again", error=f"{type(error).__name__}: {error}")
                coordinator.reset_generation()

    async def seek_all(self, positions: Mapping[TP, int]) -> None:
        """Seek each partition that is still assigned."""
        await self.call_thread(self._seek_all, positions)

    async def _seek_all(self, positions: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in positions.items():
            partition = driver.ensure_aiokafka_TP(tp)
            if partition in assigned:
                consumer.seek(partition, offset)
                self._chain[partition] = offset


class BatchConsumer(driver.Consumer):
    """See the module's first three points."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        thread = BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)
        thread.pace_seconds = self._delivery.pace_seconds
        return thread

    @property
    def _delivery(self) -> Positions:
        delivery: Positions = self.app.delivery  # type: ignore[attr-defined]  # set by streams.application
        return delivery

    def _to_message(self, tp: TP, record: Fetched) -> ConsumerMessage:
        last = record.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            [],
            None,
            record,  # type: ignore[arg-type]  # the raw serializer hands any value through
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between batches are no gaps: nothing waits for them."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        assigned = {TP(tp.topic, tp.partition) for tp in self.assignment()}
        positions = await self._delivery.seek_positions(self, assigned)
        assert isinstance(self._thread, BatchConsumerThread)
        await self._thread.seek_all(positions)
        return positions

    async def perform_seek(self) -> None:
        await super().perform_seek()
        # Faust takes the positions sought for committed ones, but they are the sink's: Kafka has yet to be told.
        for tp in self.assignment():
            self._committed_offset[TP(tp.topic, tp.partition)] = None

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        # Also a partition in which nothing new has come since it was assigned.
        return (TP(tp.topic, tp.partition) for tp in self.assignment())

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._delivery.watermark(TP(tp.topic, tp.partition))


class BatchTransport(driver.Transport):
    """The transport of every agent's app."""

    Consumer = BatchConsumer
