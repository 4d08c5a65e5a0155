"""Takes records through a sink on a lane of its own, by the engine that the agents use.

The lane's watermarks are kept like any group's: a replay that was ended early goes on where it stood.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from faust.types import TP

from config.settings import StreamSettings
from ops.replay.plan import Stretch
from sinks.contract import Sink
from streams.dlq import DeadLetterWriter
from streams.engine import Decode, Engine
from streams.transport import Fetched

_LOOK_SECONDS = 0.05


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


class Source(Protocol):
    """Where records come from: a topic, or the archive."""

    @property
    def stretches(self) -> Mapping[TP, Stretch]:
        """What it reads of each partition."""
        ...

    def read(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched | None]:
        """The stretches from *positions* to their ends, each partition in order; None now and then meanwhile."""
        ...

    def done(self, marks: Mapping[TP, int]) -> int:
        """How many records lie behind *marks*."""
        ...


class _Log:
    """What the engine asks a consumer: the log, as far as this replay is concerned."""

    def __init__(self, stretches: Mapping[TP, Stretch]) -> None:
        self._stretches = stretches

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        return {tp: self._stretches[tp].begin for tp in partitions}

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        return {tp: self._stretches[tp].end for tp in partitions}


class Lane:
    """One run of what *source* has into *sink*."""

    def __init__(
        self,
        *,
        source: Source,
        sink: Sink,
        decode: Decode,
        dead_letters: DeadLetterWriter,
        settings: StreamSettings,
        pace: Pace,
    ) -> None:
        self._source = source
        ids: dict[str, UUID] = {one.topic: one.topic_id for one in source.stretches.values()}
        self._engine = Engine(
            sink=sink,
            decode=decode,
            dead_letters=dead_letters,
            settings=settings,
            topic_ids=lambda topic: ids[topic],
        )
        self._pace = pace
        self._fenced = False

    async def run(self) -> None:
        """Until every stretch is applied; raises :class:`ReplayStopped`."""
        stretches = self._source.stretches
        if not stretches:
            return
        positions = await self._engine.seek_positions(_Log(stretches), set(stretches))
        self._check()
        await self._engine.settle(self._fetch(positions), self._fence)

    @property
    def waiting(self) -> str | None:
        """What it waits for, where something is away."""
        return self._engine.waiting

    @property
    def done(self) -> int:
        """How many records are applied."""
        return self._source.done(self._marks())

    def _marks(self) -> dict[TP, int]:
        marks = {tp: self._engine.watermark(tp) for tp in self._source.stretches}
        return {tp: mark for tp, mark in marks.items() if mark is not None}

    async def _fetch(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched]:
        async for fetched in self._source.read(positions):
            if fetched is not None:
                yield fetched
                await asyncio.sleep(self._pace.ahead(len(fetched.records)))
            self._check()
        # What is read is applied before the engine hears that there is no more.
        while any(mark < self._source.stretches[tp].end for tp, mark in self._marks().items()):
            await asyncio.sleep(_LOOK_SECONDS)
            self._check()

    async def _fence(self) -> None:
        self._fenced = True

    def _check(self) -> None:
        if self._engine.stopped:
            raise ReplayStopped(self._engine.stopped)
        if self._fenced:
            raise ReplayStopped("another replay is at work on the same lane")


class Lanes:
    """Several at once, each of other partitions. They share watermarks' names, pace and sink's group, and no record."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    async def run(self) -> None:
        """Until all are done; what the first to fail raises ends the others, and leaves as it is."""
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(lane.run())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    @property
    def waiting(self) -> str | None:
        """What one of them waits for, where something is away."""
        return next((lane.waiting for lane in self._lanes if lane.waiting), None)

    @property
    def done(self) -> int:
        """How many records are applied."""
        return sum(lane.done for lane in self._lanes)
