"""Stuck, waiting, stopped or just idle: what a worker's health says of a partition in which nothing moves."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import UUID

import pytest
from faust.types import TP

from clients import metrics
from clients.periodic import JobBoard
from config.settings import StreamSettings
from sinks.contract import Retry
from streams import health
from streams.decoding import share_events
from streams.engine import Engine
from streams.health import health_of
from streams.progress import ProgressWatch
from streams.transport import Fetched
from tests.lab import CODEC, eventually
from tests.memory_sink import MemorySink

A, B = TP("events", 0), TP("events", 1)
SETTINGS = StreamSettings(progress_check_seconds=5, stuck_after_seconds=120)


class Worker:
    """What is watched, with brokers and a clock that the test drives. Unlike an engine it moves when it is told."""

    group = "watched"
    linger_seconds = 0.0

    def __init__(self, settings: StreamSettings = SETTINGS, linger_seconds: float = 0.0) -> None:
        self.linger_seconds = linger_seconds
        self.stopped: str | None = None
        self.waiting: str | None = None
        self.back_offs = 0
        self.has_started = True
        self.marks: dict[TP, int] = {A: 0, B: 0}
        self.log: dict[TP, int] = {A: 0, B: 0}
        self.assigned = {A, B}
        self.now = 1_000.0
        self.watch = ProgressWatch(
            self, assigned=lambda: self.assigned, ends=self.ends, settings=settings, clock=lambda: self.now
        )

    def watermark(self, tp: TP) -> int | None:
        return self.marks.get(tp)

    def ends(self, tps: Iterable[TP]) -> Mapping[tuple[str, int], int]:
        return {tp: self.log[tp] for tp in tps if tp in self.log}

    def run(self, seconds: float, *, every: float = 5.0) -> str:
        """Let *seconds* pass with a look every so often; how it is then."""
        until = self.now + seconds
        while self.now < until:
            self.now += every
            self.watch.look()
        return self.health

    @property
    def health(self) -> str:
        return health_of(self, self.watch)[0]


def gauge(name: str) -> float:
    metric = {"stuck": metrics.STUCK_PARTITIONS, "waiting": metrics.GROUP_WAITING, "lag": metrics.GROUP_LAG}[name]
    return float(metric.labels("watched")._value.get())


def test_records_wait_and_nothing_moves() -> None:
    worker = Worker()
    worker.log[B] = 17
    assert worker.run(120) == "healthy"
    assert worker.run(10) == "stuck"
    assert set(worker.watch.stuck) == {B}
    reason = health_of(worker, worker.watch)[1]
    assert reason is not None
    assert reason.startswith("events[1]: 17 records wait at offset 0, for 1")
    assert gauge("stuck") == 1


def test_its_lag_is_what_waits_in_its_partitions() -> None:
    worker = Worker()
    worker.log = {A: 17, B: 5}
    worker.marks[A] = 10
    worker.run(5)
    assert gauge("lag") == 12
    # Without the brokers' word the last figure stands: no lag would look as if all were well.
    worker.log = {}
    worker.run(5)
    assert gauge("lag") == 12
    worker.assigned = set()
    worker.run(5)
    assert gauge("lag") == 0


def test_one_that_moves_again_is_stuck_no_more() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.run(200)
    worker.marks[A] = 3
    assert worker.run(5) == "healthy"
    assert gauge("stuck") == 0


def test_an_idle_worker_is_healthy() -> None:
    assert Worker().run(10_000) == "healthy"


def test_a_slow_worker_is_healthy() -> None:
    worker = Worker()
    worker.log[A] = 1_000
    for _ in range(20):
        worker.marks[A] += 1
        assert worker.run(110) == "healthy"


def test_a_batch_that_is_gathered_for_minutes_is_not_stuck() -> None:
    worker = Worker(linger_seconds=300)
    worker.log[A] = 17
    assert worker.run(415) == "healthy"
    assert worker.run(15) == "stuck"


def test_what_waits_for_something_that_is_down_is_not_stuck() -> None:
    worker = Worker()
    worker.log[A] = 17
    for _ in range(50):
        worker.waiting = "applying a batch: connection refused"
        worker.back_offs += 1
        assert worker.run(15) == "waiting"
    assert gauge("waiting") == 1


def test_a_try_that_never_ends_is_stuck_whatever_the_one_before_it_said() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.waiting, worker.back_offs = "applying a batch: connection refused", 1
    assert worker.run(140) == "stuck"


def test_a_stopped_group_is_stopped() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.stopped = "1000 records in a row were refused"
    assert worker.run(1_000) == "stopped"


def test_a_worker_that_does_not_find_its_position_is_stuck() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.marks.clear()
    assert worker.run(140) == "stuck"
    assert "no position is known" in str(health_of(worker, worker.watch)[1])


def test_a_partition_that_went_to_another_worker_is_not_ours_to_report() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.run(200)
    worker.assigned = {B}
    assert worker.run(5) == "healthy"
    worker.assigned = {A, B}
    assert worker.run(100) == "healthy", "it counts anew"


def test_brokers_that_do_not_answer_prove_nothing() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.run(60)
    log, worker.log = worker.log, {}
    assert worker.run(1_000) == "healthy"
    worker.log = log
    assert worker.run(50) == "healthy"
    assert worker.run(20) == "stuck"


def test_a_machine_that_stood_still_is_given_its_time() -> None:
    worker = Worker()
    worker.log[A] = 17
    worker.run(10)
    worker.now += 3_600
    worker.watch.look()
    assert worker.health == "healthy"
    assert worker.run(130) == "stuck"


async def test_an_engine_whose_sink_is_away_says_so_and_then_that_it_is_well() -> None:
    away = True

    def refuse(_: object) -> None:
        if away:
            raise Retry("no database")

    engine = Engine(
        sink=MemorySink(before=refuse),
        decode=share_events(CODEC, "memory"),
        dead_letters=None,
        settings=StreamSettings(retry_base_seconds=0.001, retry_max_seconds=0.002),
        topic_ids=lambda _: UUID(int=1),
    )

    class Offsets:
        async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
            return dict.fromkeys(tps, 0)

        async def highwaters(self, *tps: TP) -> dict[TP, int]:
            return dict.fromkeys(tps, 9)

    async def stream() -> AsyncIterator[Fetched]:
        yield Fetched(A, 0, 9, [])
        await asyncio.sleep(5)

    async def nothing() -> None:
        return

    now = 0.0
    watch = ProgressWatch(engine, assigned=lambda: {A}, ends=lambda _: {A: 9}, settings=SETTINGS, clock=lambda: now)
    await engine.seek_positions(Offsets(), {A})
    engine.has_started = True
    settling = asyncio.create_task(engine.settle(stream(), nothing))
    for _ in range(30):
        tries = engine.back_offs

        async def tried_again(tries: int = tries) -> bool:
            return engine.back_offs > tries

        await eventually(tried_again, 5, "another try")
        now += 5
        watch.look()
        assert health_of(engine, watch)[0] == "waiting"
    away = False

    async def applied() -> bool:
        return engine.watermark(A) == 9

    await eventually(applied, 5, "the batch is applied")
    watch.look()
    assert health_of(engine, watch) == ("healthy", None)
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)


@pytest.mark.parametrize(
    ("state", "healthz", "livez"),
    [("healthy", 200, 200), ("waiting", 200, 200), ("stopped", 503, 200), ("starting", 503, 200), ("stuck", 503, 503)],
)
def test_who_restarts_looks_at_livez(state: str, healthz: int, livez: int) -> None:
    worker = Worker()
    worker.log[A] = 17
    if state == "stopped":
        worker.stopped = "a person must look"
    elif state == "starting":
        worker.has_started = False
    elif state == "waiting":
        worker.waiting = "the database is away"
    elif state == "stuck":
        worker.run(200)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    health.serve(worker, worker.watch, SETTINGS.model_copy(update={"metrics_port": port}), JobBoard())
    for path, status in (("healthz", healthz), ("livez", livez)):
        try:
            with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                found, body = answer.status, json.load(answer)
        except HTTPError as error:
            found, body = error.code, json.load(error)
        assert (found, body["status"]) == (status, state)
