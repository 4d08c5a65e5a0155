"""The persist agent in this process, on a real topic and a real database, with workers that die or freeze where told.

A worker is the real engine, sink, codec and dead-letter writer. Only Faust is left out, since joining a group takes
seconds: here a reader with an assignment of its own does what :mod:`streams.transport` does (``tests/faults`` has whole
worker processes, killed and frozen, in its other files). A worker that dies is dropped as it stands: its connections to
PostgreSQL are cut, and nothing that it knew goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import stamina
from aiokafka import AIOKafkaConsumer, TopicPartition
from asyncpg.pool import PoolConnectionProxy
from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from faust.types import TP

from clients.outbox import OutboxRelay
from clients.periodic import JobBoard, every
from clients.postgres import Database
from clients.producer import EventProducer
from config.settings import KafkaSettings, PostgresSettings, StreamSettings
from schemas.codec import MalformedEvent, Origin
from schemas.event import ShareEvent
from sinks.contract import Applied, Batch
from sinks.share_store import ShareStore
from streams.application import topic_ids
from streams.decoding import share_events
from streams.dlq import DeadLetterWriter
from streams.engine import Engine
from streams.transport import Fetched
from tests.lab import CODEC

PARTITIONS = 3
STEP_SECONDS = 30


class Moment(StrEnum):
    """Where in a batch's life its worker ends, or freezes."""

    BEFORE = "before its transaction"
    WITHIN = "within its transaction"
    AFTER = "after its transaction, before Kafka is told"


@dataclass
class Fate:
    """What becomes of a worker at *moment* of its batch number *batch* from now; *frozen*: it may be woken."""

    moment: Moment
    batch: int
    frozen: bool = False


class MortalStore(ShareStore):
    """The share store, in a worker that stops at its fate's moment."""

    def __init__(self, database: Database, group: str) -> None:
        super().__init__(database, group)
        self.fate: Fate | None = None
        self.stopped = asyncio.Event()
        self.woken = asyncio.Event()

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        if self.fate is not None:
            self.fate.batch -= 1
        await self._stop_at(Moment.BEFORE)
        done = await super().apply(batch)
        await self._stop_at(Moment.AFTER)
        return done

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        done = await super()._write(connection, batch)
        await self._stop_at(Moment.WITHIN)
        return done

    async def _stop_at(self, moment: Moment) -> None:
        if self.fate is not None and self.fate.batch == 0 and self.fate.moment is moment:
            self.fate = None
            self.stopped.set()
            await self.woken.wait()


class Worker:
    """One worker: reads its topic from where its sink stands, in fetches of *size*."""

    def __init__(self, system: System, size: int) -> None:
        self._system = system
        self._size = size
        self._database = Database(PostgresSettings(dsn=system.dsn))
        self.sink = MortalStore(self._database, system.group)
        self._engine = Engine(
            sink=self.sink,
            decode=share_events(CODEC, system.group),
            dead_letters=DeadLetterWriter(system.kafka),
            settings=StreamSettings(max_batch_events=size, retry_base_seconds=0.01, retry_max_seconds=0.1),
            topic_ids=system.topic_id,
        )
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=system.kafka.bootstrap_servers,
            group_id=system.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=20,
        )
        self._chain: dict[TP, int] = {}
        self._run: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and ask the sink where it stands."""
        await self._consumer.start()
        self._consumer.assign(list(self._system.tps))
        await self._seek()

    async def go_on(self) -> bool:
        """Settle until the log's end; False if it was stopped by its fate."""
        self._run = self._run or asyncio.create_task(self._settle())
        stopped = asyncio.create_task(self.sink.stopped.wait())
        try:
            await asyncio.wait({self._run, stopped}, timeout=STEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self.sink.stopped.is_set():
                return False
            assert self._run.done(), f"not at the log's end after {STEP_SECONDS} s; waiting: {self._engine.waiting}"
        finally:
            stopped.cancel()
        self._run.result()
        self._run = None
        assert self._engine.stopped is None, self._engine.stopped
        return True

    async def wake(self, fate: Fate | None) -> bool:
        """It was frozen and knows nothing of it: it goes on, to the log's end; False if its *fate* stopped it."""
        self.sink.stopped.clear()
        woken, self.sink.woken, self.sink.fate = self.sink.woken, asyncio.Event(), fate
        woken.set()
        return await self.go_on()

    async def tell_kafka(self) -> None:
        """Commit as the transport does: what the engine calls its watermarks."""
        marks = {tp: mark for tp in self._system.tps if (mark := self._engine.watermark(tp)) is not None}
        await self._consumer.commit({TopicPartition(*tp): mark for tp, mark in marks.items()})

    def jump(self, tp: TP, offset: int) -> None:
        """The reader's next fetch of *tp* begins at *offset*: records come again, or are left out."""
        self._consumer.seek(tp, offset)
        self._chain[tp] = offset

    async def die(self) -> None:
        """As by SIGKILL: PostgreSQL and Kafka see connections that end."""
        (await self._database.pool()).terminate()
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
        await self._consumer.stop()

    async def _seek(self) -> None:
        for tp, offset in (await self._engine.seek_positions(self, set(self._system.tps))).items():
            self.jump(tp, offset)

    async def _settle(self) -> None:
        await self._engine.settle(self._stream(), self._seek)

    async def _stream(self) -> AsyncIterator[Fetched]:
        # The ends as they are now: who was frozen meanwhile may find itself beyond them.
        ends = await self.highwaters(*self._system.tps)
        while any((self._engine.watermark(tp) or 0) < end for tp, end in ends.items()) and self._engine.stopped is None:
            fetched = await self._consumer.getmany(timeout_ms=10, max_records=self._size)
            for tp, records in fetched.items():
                start, end = self._chain[TP(*tp)], records[-1].offset + 1
                self._chain[TP(*tp)] = end
                yield Fetched(TP(*tp), start, end, records)

    async def earliest_offsets(self, *tps: TP) -> dict[Any, int]:
        """What the engine asks of Faust's consumer."""
        starts: dict[Any, int] = await self._consumer.beginning_offsets(tps)
        return starts

    async def highwaters(self, *tps: TP) -> dict[Any, int]:
        """As :meth:`earliest_offsets`."""
        ends: dict[Any, int] = await self._consumer.end_offsets(tps)
        return ends


class System:
    """A topic and a group of their own in a shared database, an API's producer, and one worker after another."""

    def __init__(self, kafka: KafkaSettings, dsn: str, group: str) -> None:
        self.kafka, self.dsn, self.group = kafka, dsn, group
        self.tps = [TP(kafka.events_topic, number) for number in range(PARTITIONS)]
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        self._topic_ids: dict[str, UUID] = {}
        self._database = Database(PostgresSettings(dsn=dsn))
        self._reader = self._reader_of(kafka.events_topic)
        self._log: list[tuple[int, int, bytes | None]] = []
        self.producer = EventProducer(kafka, CODEC)
        self.worker: Worker | None = None
        self.frozen: list[Worker] = []
        self.happened: Counter[str] = Counter()
        self.is_open = False

    async def open(self) -> None:
        """Make topics, and a store in which nothing was shared yet."""
        wanted = [NewTopic(self.kafka.events_topic, PARTITIONS, 1), NewTopic(self.kafka.dlq_topic, 1, 1)]
        for created in self._admin.create_topics(wanted).values():
            created.result(timeout=20)
        ask = topic_ids(self.kafka)
        for attempt in stamina.retry_context(on=KafkaException, attempts=50, wait_max=0.5, timeout=20):
            with attempt:  # a broker that has just made a topic may not know it, or not lead it, for a moment
                self._topic_ids[self.kafka.events_topic] = ask(self.kafka.events_topic)
                for topic, number in [*self.tps, (self.kafka.dlq_topic, 0)]:
                    self._reader.get_watermark_offsets(Place(topic, number), timeout=5)
        self._reader.assign([Place(*tp, 0) for tp in self.tps])
        pool = await self._database.pool()
        for table in ("event_outbox", "ledger", "watermarks", "wishlist_shares"):
            await pool.execute(f"DELETE FROM {table}")
        await pool.execute("DELETE FROM wishlist_items WHERE source_share_id IS NOT NULL OR public_id LIKE 'wli\\_%'")
        await self.producer.start()
        self.is_open = True

    async def close(self) -> None:
        """Leave nothing behind but the database."""
        for worker in [*self.frozen, *([self.worker] if self.worker else [])]:
            await worker.die()
        await self.producer.close()
        (await self._database.pool()).terminate()
        self._reader.close()
        self._admin.delete_topics([self.kafka.events_topic, self.kafka.dlq_topic])

    def topic_id(self, topic: str) -> UUID:
        """Kafka's own id of *topic*."""
        return self._topic_ids[topic]

    # --- what happens -----------------------------------------------------------------------------------------

    async def deliver(self, size: int, fate: Fate | None = None) -> None:
        """A worker settles what the topic has, up to its *fate*, if it gets there."""
        if self.worker is None:
            self.worker = Worker(self, size)
            await self.worker.start()
        self.worker.sink.fate = fate
        if await self.worker.go_on():
            self.worker.sink.fate = None
            await self.worker.tell_kafka()
            self.happened["settled"] += 1
            return
        assert fate is not None
        worker, self.worker = self.worker, None
        if fate.frozen:
            self.frozen.append(worker)
            self.happened[f"frozen {fate.moment}"] += 1
        else:
            await worker.die()
            self.happened[f"killed {fate.moment}"] += 1

    async def wake(self, dies: bool = False) -> None:
        """The longest frozen worker goes on; whoever has its partitions now is alive too.

        It *dies* once it has written what it was frozen over, unless it may not write that any more.
        """
        worker = self.frozen.pop(0)
        try:
            if await worker.wake(Fate(Moment.AFTER, batch=0) if dies else None):
                await worker.tell_kafka()
                self.happened["woken"] += 1
            else:
                assert dies
                self.happened["woken and killed"] += 1
        finally:
            await worker.die()

    async def die_idle(self) -> None:
        """The worker is killed between two batches."""
        if self.worker is not None:
            await self.worker.die()
            self.worker = None

    async def relay(self) -> None:
        """The outbox's relay, until nothing waits."""
        pool = await self._database.pool()
        task = asyncio.create_task(every(0.5, OutboxRelay(pool, self.producer).round, name="relay", board=JobBoard()))
        waits = "SELECT EXISTS (SELECT FROM event_outbox)"
        while await pool.fetchval(waits) and not task.done():  # noqa: ASYNC110  # the relay works through PostgreSQL
            await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def relay_that_dies(self) -> None:
        """A relay that is killed between the broker's word and its own note of it."""
        pool = await self._database.pool()
        for row in await pool.fetch("SELECT share_token, event_type, value FROM event_outbox ORDER BY id"):
            await self.producer.send_bytes(row["share_token"], row["value"], row["event_type"])

    # --- what there is ----------------------------------------------------------------------------------------

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """What PostgreSQL holds."""
        found: list[Any] = await (await self._database.pool()).fetch(sql, *arguments)
        return found

    async def watermarks(self) -> dict[int, int]:
        """The sink's next offset of each partition."""
        found = await self.rows("SELECT partition, next_offset FROM watermarks WHERE consumer_group = $1", self.group)
        return {row["partition"]: row["next_offset"] for row in found}

    def log(self) -> Sequence[tuple[int, int, bytes | None]]:
        """Each record of the topic: partition, offset, value."""
        ends = {tp.partition: self._reader.get_watermark_offsets(Place(*tp), timeout=10)[1] for tp in self.tps}
        while len(self._log) < sum(ends.values()):
            for message in self._reader.consume(100, 0.1):
                assert message.error() is None, message.error()
                self._log.append((message.partition() or 0, message.offset() or 0, message.value()))
        return self._log

    def events(self, below: dict[int, int]) -> list[ShareEvent]:
        """The topic's events *below* an offset of each partition; bytes that are none are passed by."""
        found = []
        for partition, offset, value in self.log():
            if offset < below.get(partition, 0):
                with suppress(MalformedEvent):
                    found.append(CODEC.decode(value, Origin(self.kafka.events_topic, partition, offset, 0)))
        return found

    async def committed(self) -> dict[int, int]:
        """What Kafka believes that the group has done."""
        return await asyncio.to_thread(self._committed)

    def _committed(self) -> dict[int, int]:
        asked = self._reader.committed([Place(*tp) for tp in self.tps], timeout=10)
        return {one.partition: one.offset for one in asked if one.offset >= 0}

    def dead_letters(self) -> Counter[tuple[int, int]]:
        """Where each record stood that is in the DLQ; how often it is there."""
        topic = self.kafka.dlq_topic
        reader = self._reader_of(topic)
        reader.assign([Place(topic, 0, 0)])
        found: Counter[tuple[int, int]] = Counter()
        end = reader.get_watermark_offsets(Place(topic, 0), timeout=10)[1]
        while sum(found.values()) < end:
            for message in reader.consume(100, 0.1):
                said: dict[str, Any] = dict(message.headers() or ())
                found[int(said["original_partition"]), int(said["original_offset"])] += 1
        reader.close()
        return found

    def _reader_of(self, topic: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": self.group,  # it never joins it: so it may ask what was committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )


def placed(log: Iterable[tuple[int, int, bytes | None]], value: bytes) -> set[tuple[int, int]]:
    """Where *value* stands in the topic."""
    return {(partition, offset) for partition, offset, found in log if found == value}
