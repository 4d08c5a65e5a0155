"""The settle loop: applied, put aside or dropped, in order, and never an exception to Faust."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from uuid import UUID

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import ShareEvent
from sinks.contract import Applied, Batch, Reject, Retry
from streams.transport import Fetched
from tests.engine_bench import TOPIC, Bench, MemoryDlq
from tests.lab import CODEC, event
from tests.memory_sink import MemorySink


def fill(bench: Bench, count: int, bad: Mapping[int, bytes] | None = None, partition: int = 0) -> list[ShareEvent]:
    """Append *count* events, with the bytes of *bad* in place of those at its offsets; returns the good ones."""
    good = []
    for offset in range(count):
        if bad and offset in bad:
            bench.log.append(partition, bad[offset])
        else:
            good.append(event())
            bench.log.append(partition, CODEC.encode(good[-1]))
    return good


async def test_good_events_are_applied_in_order() -> None:
    bench = Bench(MemorySink())
    good = fill(bench, 50)
    await bench.run()
    assert bench.sink.effects == good
    assert not bench.dlq.letters


@given(st.sets(st.integers(0, 29)), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_bad_records_are_put_aside_and_the_rest_keeps_its_order(bad: set[int], size: int) -> None:
    bench = Bench(MemorySink())
    good = fill(bench, 30, {offset: b"bad %d" % offset for offset in bad})
    asyncio.run(bench.run(size))
    assert bench.sink.effects == good
    assert [value for value, _ in bench.dlq.letters] == [b"bad %d" % offset for offset in sorted(bad)]


class Hard(MemorySink):
    """Answers the first cancellation as a connection does that ends just then; waits for ever otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = False
        self.begun = asyncio.Event()

    async def apply(self, batch: Batch) -> Applied:
        self.tries += 1
        self.begun.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            if self.cancelled:
                raise
            self.cancelled = True
        raise Retry("the connection is closed")


async def test_it_ends_when_it_is_told_to_though_an_error_hides_that_from_it() -> None:
    bench = Bench(Hard())
    fill(bench, 1)
    settling = asyncio.create_task(bench.run(within=60))
    await bench.sink.begun.wait()
    settling.cancel()
    assert await asyncio.wait({settling}, timeout=10) == ({settling}, set())
    assert bench.sink.tries == 2


async def test_a_record_that_the_sink_refuses_stands_alone_in_the_dlq() -> None:
    poison = event()

    def refuse(batch: Batch) -> None:
        if poison in batch.events:
            raise Reject("CheckViolationError: no")

    bench = Bench(MemorySink(before=refuse))
    good = fill(bench, 20, {11: CODEC.encode(poison)})
    await bench.run(20)
    assert bench.sink.effects == good
    [(value, headers)] = bench.dlq.letters
    assert value == CODEC.encode(poison)
    assert headers["event_id"] == str(poison.event_id)
    assert headers["original_offset"] == "11"
    assert headers["error_class"] == "Reject"


async def test_a_bug_is_put_aside_with_its_traceback() -> None:
    poison = event()

    def fail(batch: Batch) -> None:
        if poison in batch.events:
            raise ZeroDivisionError("a bug")

    bench = Bench(MemorySink(before=fail))
    good = fill(bench, 9, {4: CODEC.encode(poison)})
    await bench.run(9)
    assert bench.sink.effects == good
    assert "ZeroDivisionError: a bug" in bench.dlq.letters[0][1]["traceback"]


async def test_one_records_error_is_not_told_as_the_cause_of_the_next_ones() -> None:
    bench = Bench(MemorySink())
    fill(bench, 8, {2: b"first", 5: b"\0\0\0\0\x63" + CODEC.encode(event())[5:]})
    await bench.run(8)
    first, second = (headers["traceback"] for _, headers in bench.dlq.letters)
    assert "magic byte" in first
    assert "schema id 99" in second
    assert "magic byte" not in second


async def test_a_passing_fault_is_waited_out_and_nothing_is_skipped() -> None:
    faults = iter([Retry("gone")] * 6)

    def sometimes(_: Batch) -> None:
        for fault in faults:
            raise fault

    bench = Bench(MemorySink(before=sometimes))
    good = fill(bench, 30)
    await bench.run()
    assert bench.sink.effects == good
    assert not bench.dlq.letters
    assert bench.engine.waiting is None


async def test_the_dlq_is_waited_for_before_anything_goes_on() -> None:
    bench = Bench(MemorySink(), dlq=MemoryDlq(failures=5))
    good = fill(bench, 10, {3: b"bad"})
    await bench.run()
    assert bench.sink.effects == good
    assert len(bench.dlq.letters) == 1


async def test_another_owner_moved_the_watermark_we_drop_and_go_on_from_there() -> None:
    bench = Bench(MemorySink())
    good = fill(bench, 40)
    stolen = False

    def steal(_: Batch) -> None:
        nonlocal stolen
        if not stolen:
            stolen = True
            bench.sink.watermarks[TOPIC, 0] = (UUID(int=1), 25)
            raise Retry("lost the connection at commit")

    bench.sink.before = steal
    await bench.run()
    assert bench.sink.effects == good[25:]
    assert bench.seeks == 2


async def test_a_hole_in_what_was_fetched_is_never_stepped_over() -> None:
    bench = Bench(MemorySink())
    good = fill(bench, 30)
    await bench.seek()
    skipped = bench.log.fetch(0, 5)
    assert skipped is not None
    run = bench.engine.settle

    async def lossy() -> AsyncIterator[Fetched]:
        while bench.engine.watermark(TP(TOPIC, 0)) != 30:
            fetched = bench.log.fetch(0, 5)
            if fetched is not None:
                yield fetched
            await asyncio.sleep(0.001)

    await asyncio.wait_for(run(lossy(), bench.seek), 5)
    assert bench.sink.effects == good


async def test_records_read_twice_are_applied_from_where_the_sink_stands() -> None:
    bench = Bench(MemorySink())
    good = fill(bench, 10)
    await bench.seek()
    whole = bench.log.fetch(0, 10)
    assert whole is not None

    async def repeated() -> AsyncIterator[Fetched]:
        yield replace(whole, end=6, records=whole.records[:6])
        yield whole
        while bench.engine.watermark(TP(TOPIC, 0)) != 10:  # noqa: ASYNC110  # the engine tells nobody
            await asyncio.sleep(0.001)

    await asyncio.wait_for(bench.engine.settle(repeated(), bench.seek), 5)
    assert bench.sink.effects == good


async def test_a_dlq_that_fills_stops_the_group() -> None:
    bench = Bench(MemorySink(), max_consecutive_rejects=5)
    fill(bench, 20, dict.fromkeys(range(20), b"bad"))
    await bench.run(done=lambda: bench.engine.stopped is not None)
    assert len(bench.dlq.letters) == 5
    assert "5 records in a row were refused" in (bench.engine.stopped or "")
    assert bench.engine.watermark(TP(TOPIC, 0)) == 5


async def test_too_large_a_share_of_rejects_stops_the_group() -> None:
    bench = Bench(MemorySink(), reject_ratio_after=50, max_reject_ratio=0.1)
    fill(bench, 200, dict.fromkeys(range(0, 200, 5), b"bad"))
    await bench.run(done=lambda: bench.engine.stopped is not None)
    assert "of" in (bench.engine.stopped or "")
    assert len(bench.dlq.letters) <= 12


async def test_a_record_meant_for_another_group_is_passed_by() -> None:
    bench = Bench(MemorySink(group="mine"))
    for group in (b"theirs", b"mine"):
        value = CODEC.encode(event())
        bench.log.records[0].append(
            ConsumerRecord(
                TOPIC, 0, len(bench.log.records[0]), 0, 0, b"k", value, None, 1, len(value), (("only_group", group),)
            )
        )
    await bench.run()
    assert len(bench.sink.effects) == 1


async def test_several_partitions_each_keep_their_order() -> None:
    bench = Bench(MemorySink(), partitions=3)
    good = [fill(bench, 20, {7: b"bad"}, partition) for partition in range(3)]
    await bench.run(4)
    for events in good:
        assert [e for e in bench.sink.effects if e in events] == events
    assert len(bench.dlq.letters) == 3


async def test_a_watermark_outside_the_log_stops_the_group() -> None:
    bench = Bench(MemorySink())
    fill(bench, 5)
    bench.sink.watermarks[TOPIC, 0] = (UUID(int=1), 99)
    await bench.seek()
    assert "stands at offset 99" in (bench.engine.stopped or "")


async def test_a_topic_made_anew_stops_the_group() -> None:
    bench = Bench(MemorySink())
    fill(bench, 5)
    bench.sink.watermarks[TOPIC, 0] = (UUID(int=2), 3)
    await bench.seek()
    assert "made anew" in (bench.engine.stopped or "")


@pytest.mark.parametrize("large", [1_048_577, 5_000_000])
async def test_a_value_too_large_is_rejected_undecoded(large: int) -> None:
    bench = Bench(MemorySink())
    fill(bench, 3, {1: b"\0" * large})
    await bench.run()
    assert "bytes" in bench.dlq.letters[0][1]["error_message"]
