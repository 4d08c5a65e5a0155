"""The settle loop: every fetched batch ends applied, in the DLQ, or dropped for another owner. Nothing else.

Decoding and writing overlap: while one unit is being written, the next batches are decoded and merged.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka.structs import ConsumerRecord
from faust.types import TP

from clients import metrics
from clients.logs import get_logger
from config.settings import StreamSettings
from schemas.codec import MalformedEvent
from schemas.event import ShareEvent
from schemas.segment import SegmentMessage
from sinks.contract import (
    Applied,
    Batch,
    DeadLetter,
    Fenced,
    GroupStopped,
    Move,
    Partition,
    PlacedEvent,
    Retry,
    Sink,
)
from sinks.lanes import group_of
from streams.dlq import DeadLetterWriter, headers_for
from streams.transport import Fetched

Payload = ShareEvent | DeadLetter | SegmentMessage | PlacedEvent
Decode = Callable[[ConsumerRecord], Payload | None]
_DECODE_SLICE = 50
_CANCEL_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Item:
    """One record with what it decodes to; ``payload`` is None where this group passes it by."""

    record: ConsumerRecord
    payload: Payload | None
    error: MalformedEvent | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The decoded records of one partition from ``start`` to ``end``."""

    tp: TP
    start: int
    end: int
    items: Sequence[Item]

    def halves(self) -> tuple[Part, Part]:
        """The same records as two parts."""
        middle = len(self.items) // 2
        border = self.items[middle].record.offset
        return replace(self, end=border, items=self.items[:middle]), replace(
            self, start=border, items=self.items[middle:]
        )

    def since(self, position: int) -> Part:
        """The part without the records before *position*."""
        if position == self.start:
            return self
        return replace(self, start=position, items=[item for item in self.items if item.record.offset >= position])


class Engine:
    """Delivers an agent's topics to its sink. The transport asks it for positions; the agent hands it the stream."""

    def __init__(
        self,
        *,
        sink: Sink,
        decode: Decode,
        dead_letters: DeadLetterWriter | None,
        settings: StreamSettings,
        topic_ids: Callable[[str], UUID],
    ) -> None:
        self._sink = sink
        self._decode = decode
        self._dead_letters = dead_letters
        self._settings = settings
        self._topic_id_of = topic_ids
        self._expected: dict[TP, int] = {}
        self._partitions: dict[TP, Partition] = {}
        self._writing = asyncio.Lock()
        self._reseek = asyncio.Event()
        self._consecutive_rejects = 0
        self._seen = 0
        self._rejected = 0
        self.stopped: str | None = None
        self.waiting: str | None = None
        self.back_offs = 0
        self.has_started = False

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._sink.group

    @property
    def pace_seconds(self) -> float:
        """See :attr:`config.settings.StreamSettings.pace_seconds`."""
        return self._settings.pace_seconds

    @property
    def linger_seconds(self) -> float:
        """See :attr:`config.settings.StreamSettings.linger_seconds`."""
        return self._settings.linger_seconds

    # --- what the transport asks ------------------------------------------------------------------------------

    async def seek_positions(self, consumer: Any, assigned: set[TP]) -> Mapping[TP, int]:
        """Where the sink stands in each partition; waits as long as the sink cannot say."""
        if not assigned or self.stopped:
            return {}
        attempt = 0
        while True:
            try:
                async with self._writing:
                    starts = await consumer.earliest_offsets(*assigned)
                    ends = await consumer.highwaters(*assigned)
                    topics = {tp.topic for tp in assigned}
                    ids = {topic: await asyncio.to_thread(self._topic_id_of, topic) for topic in topics}
                    for tp in assigned:
                        self._partitions[tp] = Partition(tp.topic, ids[tp.topic], tp.partition)
                    first = {self._partitions[TP(*tp)]: offset or 0 for tp, offset in starts.items()}
                    positions = await self._sink.positions(first)
                    found = {tp: positions[self._partitions[tp]] for tp in assigned}
                    self._check_inside_log(found, starts, ends)
                    self._expected.update(found)
                    self._reseek.clear()
                self.waiting = None
                return found
            except GroupStopped as error:
                self._stop(str(error))
                return {}
            except Exception as error:  # whatever keeps us from knowing, reading on without knowing is not an option
                attempt += 1
                await self._back_off("reading watermarks", error, attempt)

    def watermark(self, tp: TP) -> int | None:
        """The next offset that this worker knows the sink has reached."""
        return self._expected.get(tp)

    # --- what the agent asks ----------------------------------------------------------------------------------

    async def settle(self, stream: AsyncIterator[Fetched], reseek: Callable[[], Any]) -> None:
        """Settle batches until the stream ends. No exception leaves, since Faust would take it for success."""
        queue: asyncio.Queue[Part] = asyncio.Queue(maxsize=24)
        writer = asyncio.create_task(self._write_forever(queue, reseek), name=f"{self._sink.group} writer")
        try:
            async for fetched in stream:
                await queue.put(await self._decode_all(fetched))
        finally:
            # Once may not do: a connection that ends just then answers with an error of its own, which is tried again.
            while not writer.done():
                writer.cancel()
                await asyncio.wait({writer}, timeout=_CANCEL_AGAIN_SECONDS)
            await asyncio.gather(writer, return_exceptions=True)

    async def _write_forever(self, queue: asyncio.Queue[Part], reseek: Callable[[], Any]) -> None:
        while True:
            unit = await self._gather(queue)
            if self.stopped:
                continue
            try:
                await self._settle_unit(unit)
            except GroupStopped as error:
                self._stop(str(error))
            except Exception as error:  # a defect of this loop itself: say so, and let the sink's watermark decide
                get_logger().exception("settling failed", error=str(error))
                self._reseek.set()
            if self._reseek.is_set() and not self.stopped:
                await reseek()

    async def _gather(self, queue: asyncio.Queue[Part]) -> list[Part]:
        """What is written together: all that waits, up to a full batch; for one that is not full, a while of it."""
        unit = [await queue.get()]
        size = len(unit[0].items)
        try:
            async with asyncio.timeout(self._settings.linger_seconds or None):
                while size < self._settings.max_batch_events:
                    if queue.empty() and not self._settings.linger_seconds:
                        break
                    unit.append(await queue.get())
                    size += len(unit[-1].items)
        except TimeoutError:
            pass
        return unit

    # --- one unit ---------------------------------------------------------------------------------------------

    async def _settle_unit(self, unit: Sequence[Part]) -> None:
        """Apply what is contiguous, halving around what is refused, in order."""
        attempt = 0
        first_failure = datetime.now(UTC)
        while True:
            try:
                async with self._writing:
                    current = self._contiguous(unit)
                    if current:
                        await self._apply(current)
                self.waiting = None
                return
            except Fenced as error:
                metrics.BATCHES_FENCED.labels(self._sink.group).inc()
                get_logger().info("fenced", group=self._sink.group, partitions=[p.number for p in error.partitions])
                unit = [part for part in unit if self._partitions[part.tp] not in error.partitions]
                self._reseek.set()
            except Retry as error:
                attempt += 1
                await self._back_off("applying a batch", error, attempt)
            except Exception as error:  # Reject, or a bug: either way some record cannot be applied
                self.waiting = None
                refused = error
                break
        # Outside of the handler: there, one record's error would become the context of the next one's.
        if len(unit) > 1:
            for part in unit:
                await self._settle_unit([part])
        elif len(unit[0].items) > 1:
            for half in unit[0].halves():
                await self._settle_unit([half])
        else:
            await self._put_aside(unit[0], refused, attempt + 1, first_failure)

    def _contiguous(self, unit: Sequence[Part]) -> list[Part]:
        """What goes on from where the sink is known to stand: a hole asks for a new seek, what it has is left out."""
        position = {part.tp: self._expected.get(part.tp) for part in unit}
        current = []
        for part in unit:
            expected = position[part.tp]
            if expected is None or part.end <= expected:
                continue
            if part.start > expected:
                self._reseek.set()
                continue
            current.append(part.since(expected))
            position[part.tp] = part.end
        return current

    async def _apply(self, unit: Sequence[Part]) -> None:
        for part in unit:
            for item in part.items:
                if item.error is not None:
                    raise item.error
        moves: dict[TP, Move] = {}
        for part in unit:
            expected = moves[part.tp].expected if part.tp in moves else part.start
            moves[part.tp] = Move(self._partitions[part.tp], expected, part.end)
        payloads = [item.payload for part in unit for item in part.items]
        batch = Batch(
            tuple(moves.values()),
            # Not isinstance: msgspec's structs have a metaclass that makes it slow.
            tuple(p for p in payloads if type(p) is ShareEvent),
            tuple(p for p in payloads if type(p) is DeadLetter),
            tuple(p for p in payloads if type(p) is SegmentMessage),
            tuple(p for p in payloads if type(p) is PlacedEvent),
        )
        with metrics.BATCH_SECONDS.labels(self._sink.group).time():
            done = await self._sink.apply(batch)
        self._note_applied(moves, done, len(payloads))

    def _note_applied(self, moves: Mapping[TP, Move], done: Applied, records: int) -> None:
        group = self._sink.group
        for tp, move in moves.items():
            self._expected[tp] = move.next
            metrics.WATERMARK.labels(group, tp.topic, str(tp.partition)).set(move.next)
        get_logger().info(
            "applied",
            group=group,
            next_offsets={tp.partition: move.next for tp, move in moves.items()},
            applied=done.applied,
            skipped=done.skipped,
        )
        metrics.BATCHES_APPLIED.labels(group).inc()
        metrics.EVENTS_APPLIED.labels(group).inc(done.applied)
        metrics.EVENTS_SKIPPED.labels(group).inc(done.skipped)
        self._seen += records
        if records:
            self._consecutive_rejects = 0

    async def _put_aside(self, part: Part, error: Exception, attempts: int, first_failure: datetime) -> None:
        """Send the one record of *part* to the DLQ and step over it, or stop where too many are sent."""
        if not part.items:
            raise GroupStopped(f"an empty batch of {part.tp} is refused: {type(error).__name__}: {error}")
        record, event_id = part.items[0].record, _event_id(part.items[0].payload)
        get_logger().warning(
            "rejected",
            group=self._sink.group,
            partition=part.tp.partition,
            offset=record.offset,
            event_id=event_id,
            error=f"{type(error).__name__}: {error}",
        )
        if self._dead_letters is None:
            raise GroupStopped(f"a dead letter cannot be kept: {type(error).__name__}: {error}")
        if self._consecutive_rejects >= self._settings.max_consecutive_rejects:
            raise GroupStopped(f"{self._consecutive_rejects} records in a row were refused, the last: {error}")
        if (
            self._seen >= self._settings.reject_ratio_after
            and self._rejected > self._settings.max_reject_ratio * self._seen
        ):
            raise GroupStopped(f"{self._rejected} of {self._seen} records were refused, the last: {error}")
        headers = headers_for(record, group_of(self._sink.group), error, attempts, first_failure)
        if event_id is not None:
            headers["event_id"] = event_id
        attempt = 0
        while True:
            try:
                await self._dead_letters.write(record.key, record.value, headers)
                break
            except Retry as fault:
                attempt += 1
                await self._back_off("writing to the DLQ", fault, attempt)
        rejects = self._consecutive_rejects + 1
        await self._settle_unit([replace(part, items=())])
        self._consecutive_rejects = rejects
        self._seen += 1
        self._rejected += 1

    # --- the rest ---------------------------------------------------------------------------------------------

    async def _decode_all(self, fetched: Fetched) -> Part:
        items = []
        for index, record in enumerate(fetched.records):
            if index % _DECODE_SLICE == _DECODE_SLICE - 1:
                await asyncio.sleep(0)  # the writer's answers from the sink come in between
            try:
                if record.value is not None and len(record.value) > self._settings.max_event_bytes:
                    raise MalformedEvent(f"{len(record.value)} bytes; {self._settings.max_event_bytes} are allowed")
                items.append(Item(record, self._decode(record)))
            except MalformedEvent as error:
                items.append(Item(record, None, error))
            except Retry as error:
                items.append(await self._decode_later(record, error))
        return Part(fetched.tp, fetched.start, fetched.end, items)

    async def _decode_later(self, record: ConsumerRecord, fault: Exception) -> Item:
        """Try again, off the loop, until whoever knows the record's schema can be asked."""
        attempt = 0
        while True:
            attempt += 1
            await self._back_off("decoding", fault, attempt)
            try:
                item = Item(record, await asyncio.to_thread(self._decode, record))
            except MalformedEvent as error:
                item = Item(record, None, error)
            except Retry as error:
                fault = error
                continue
            self.waiting = None
            return item

    def _check_inside_log(self, found: Mapping[TP, int], starts: Mapping[TP, int], ends: Mapping[TP, int]) -> None:
        for tp, position in found.items():
            start, end = starts.get(tp) or 0, ends.get(tp) or 0
            if not start <= position <= end:
                raise GroupStopped(
                    f"{self._sink.group} stands at offset {position} of {tp.topic}[{tp.partition}], "
                    f"the log holds {start} to {end}: replay from the archive, or restore the topic"
                )

    async def _back_off(self, what: str, error: Exception, attempt: int) -> None:
        self.waiting = f"{what}: {error}"
        self.back_offs += 1
        metrics.BATCH_RETRIES.labels(self._sink.group).inc()
        limit = min(self._settings.retry_max_seconds, self._settings.retry_base_seconds * 2 ** min(attempt, 16))
        pause = random.uniform(self._settings.retry_base_seconds / 2, limit)
        get_logger().warning("waiting", group=self._sink.group, what=what, error=str(error), seconds=round(pause, 2))
        await asyncio.sleep(pause)

    def _stop(self, why: str) -> None:
        self.stopped = why
        metrics.GROUP_STOPPED.labels(self._sink.group).set(1)
        get_logger().error("group stopped", group=self._sink.group, why=why)


def _event_id(payload: Payload | None) -> str | None:
    event = payload.event if isinstance(payload, PlacedEvent) else payload
    return str(event.event_id) if isinstance(event, ShareEvent) else None
