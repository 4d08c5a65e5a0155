"""A replay's lanes side by side: all is applied, and the first to fail ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import pytest
from faust.types import TP

from config.settings import StreamSettings
from ops.replay.lane import Lane, Lanes, Pace, ReplayStopped
from ops.replay.plan import Stretch
from streams.decoding import share_events
from streams.transport import Fetched
from tests.engine_bench import QUICK, TOPIC, Log, MemoryDlq
from tests.lab import CODEC, event
from tests.memory_sink import MemorySink

EVENTS = 40


class MemorySource:
    """One partition of a log in memory; *stops* before its records, *hangs* after them."""

    def __init__(self, log: Log, partition: int, *, stops: bool = False, hangs: bool = False) -> None:
        self._log, self._tp = log, TP(TOPIC, partition)
        self.stretches = {self._tp: Stretch(TOPIC, UUID(int=1), partition, 0, len(log.records[partition]))}
        self._stops, self._hangs = stops, hangs
        self.was_cancelled = False

    def done(self, marks: Mapping[TP, int]) -> int:
        return sum(marks.values())

    async def read(self, positions: Mapping[TP, int]) -> AsyncIterator[Fetched | None]:
        if self._stops:
            await asyncio.sleep(0.05)  # the other is under way by then
            raise ReplayStopped("the partition is gone")
        fetched = self._log.fetch(self._tp.partition, EVENTS)
        assert fetched is not None
        yield fetched
        try:
            if self._hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def lane(source: MemorySource, sink: MemorySink) -> Lane:
    return Lane(
        source=source,
        sink=sink,
        decode=share_events(CODEC, sink.group),
        dead_letters=MemoryDlq(),  # type: ignore[arg-type]
        settings=StreamSettings(**QUICK),  # type: ignore[arg-type]
        pace=Pace(1e9),
    )


def log_of(partitions: int) -> Log:
    log = Log(partitions)
    for number in range(EVENTS * partitions):
        log.append(number % partitions, CODEC.encode(event()))
    return log


async def test_each_applies_its_own_partitions_and_together_they_have_all() -> None:
    log, sink = log_of(3), MemorySink()
    lanes = Lanes([lane(MemorySource(log, number), sink) for number in range(3)])
    await asyncio.wait_for(lanes.run(), 5)
    assert len(sink.effects) == 3 * EVENTS
    assert lanes.done == 3 * EVENTS
    assert lanes.waiting is None


async def test_the_first_to_fail_ends_the_others_and_says_why() -> None:
    log, sink = log_of(2), MemorySink()
    other = MemorySource(log, 1, hangs=True)
    lanes = Lanes([lane(MemorySource(log, 0, stops=True), sink), lane(other, sink)])
    with pytest.raises(ReplayStopped, match="the partition is gone"):
        await asyncio.wait_for(lanes.run(), 5)
    assert other.was_cancelled


async def test_none_is_done_at_once() -> None:
    await asyncio.wait_for(Lanes([]).run(), 1)
