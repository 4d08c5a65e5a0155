"""Every sink at once, on three brokers: whatever brokers, database and workers suffer, each has each event once.

The workers are started once; each test adds events of its own, and the verdict is about all of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import pytest
import pytest_asyncio

from schemas.event import ShareEvent
from tests.cluster import NUMBERS, Cluster
from tests.every_sink import SINKS, House, begins, lively_story, open_house
from tests.lab import eventually, open_lab

EVENTS = int(os.environ.get("FAULT_HOUSE_EVENTS", "1000"))
BROKER_KILLS = int(os.environ.get("FAULT_BROKER_KILLS", "2"))
TERMINATIONS = int(os.environ.get("FAULT_TERMINATIONS", "10"))

# What a replay moves without anything having changed: positions, itself, and the archive's notes of what
# was looked through.
MOVING = {"watermarks", "replays", "archive_spans", "warehouse_owners"}
# A share that nobody draws a picture of is tried again and again.
STEADY = {"previews": "share_id, share_token, state, purged_at"}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1_800)]


@dataclass
class Busy:
    """The house with a worker of each agent at work, and all that it was ever sent."""

    house: House
    cluster: Cluster
    events: list[ShareEvent] = field(default_factory=list)

    def start_workers(self, clock_off_by: float = 0) -> None:
        """One of each agent, in its predecessor's place in the group; clocks are fast and slow by so many hours."""
        lab = self.house.lab
        for number, sink in enumerate(SINKS):
            clock = lab.clock_off_by(clock_off_by * (-1) ** number) if clock_off_by else {}
            lab.start(sink.agent, STREAM_INSTANCE_ID=f"{sink.agent}-1", **clock)

    @asynccontextmanager
    async def under_load(self, count: int) -> AsyncIterator[None]:
        """Events come in, in portions, as long as the block takes; *count* at least."""
        over = asyncio.Event()
        portions = [lively_story(count // 20 + 1) for _ in range(20)]

        async def pour() -> None:
            while portions or not over.is_set():
                portion = portions.pop() if portions else lively_story(51)
                await asyncio.to_thread(self.house.lab.produce_events, portion)
                self.events += portion
                await asyncio.sleep(0.5)

        pouring = asyncio.create_task(pour())
        try:
            yield
        finally:
            over.set()
            await pouring

    def clock_error(self, worker: int) -> float:
        """By how many seconds a worker's log is ahead of the time."""
        log = self.house.lab.log_files[worker]
        said = re.findall(r'"timestamp": "([^"]+)"', log.read_text())[-1]
        return datetime.fromisoformat(said).timestamp() - log.stat().st_mtime

    def all_have_said(self, words: str) -> bool:
        """Whether *words* are in the log of each worker that runs."""
        return all(words in log.read_text() for log in self.house.lab.log_files[-len(SINKS) :])

    async def stop_workers(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        running = [worker for worker in self.house.lab.workers if worker.poll() is None]
        for worker in running:
            worker.send_signal(signal.SIGTERM)
        return [await asyncio.to_thread(worker.wait, 60) for worker in running]

    async def traces(self) -> dict[str, object]:
        """A digest of every table, and all that anybody outside was told or given."""
        lab = self.house.lab
        tables = await lab.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        kept = [row["tablename"] for row in tables if row["tablename"] not in MOVING]
        return {
            **await lab.checksums(*kept, only=STEADY),
            "calls": sorted(self.house.receiver.ids()),
            "pushes": [one["id"] for one in await self.house.push_services.received(self.house.device)],
            "files": [one.key async for one in self.house.store.listing(lab.env["ARCHIVE_PREFIX"])],
            "pictures": [one.key async for one in self.house.store.listing("social/") if self._is_ours(one.key)],
        }

    def _is_ours(self, key: str) -> bool:
        return key.split("/")[1] in {event.share_token for event in self.events}

    async def quiet(self) -> dict[str, object]:
        """:meth:`traces`, once nothing changes any more."""
        found = await self.traces()

        async def steady() -> bool:
            nonlocal found
            await asyncio.sleep(3)
            before, found = found, await self.traces()
            return found == before

        await eventually(steady, 240, "all that waits is told")
        return found

    async def verdict(self) -> None:
        """Each event once in each sink, and Kafka was told of no more."""
        for sink in SINKS:
            await sink.holds_each_once(self.house, self.events)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busy(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Busy]:
    logs = tmp_path_factory.mktemp("house")
    async with open_lab(logs, cluster.bootstrap_servers) as lab, open_house(lab) as house:
        busy = Busy(house, cluster)
        busy.start_workers()
        yield busy


async def test_leaders_killed_under_load(busy: Busy) -> None:
    topics = [busy.house.lab.kafka.events_topic, "__consumer_offsets"]
    async with busy.under_load(EVENTS):
        for sink in SINKS:
            await begins(busy.house.lab, sink)
        for number in range(BROKER_KILLS):
            leader = await asyncio.to_thread(busy.cluster.leader_of, topics[0], number)
            busy.cluster.kill(leader)
            await asyncio.to_thread(busy.cluster.leader_of, topics[0], number)
            await asyncio.to_thread(busy.cluster.start, leader)
            await asyncio.to_thread(busy.cluster.heal, topics)
    await busy.verdict()


async def test_everything_produced_twice(busy: Busy) -> None:
    busy.house.lab.produce_events(busy.events)
    await busy.verdict()


async def test_workers_stopped_in_mid_batch(busy: Busy) -> None:
    """SIGTERM to all while they write: each ends by itself, and its successor goes on."""
    async with busy.under_load(EVENTS):
        await asyncio.sleep(1)
        codes = await busy.stop_workers()
        # Their successors have clocks that are an hour fast or slow, from here on: no effect may come of that.
        busy.start_workers(clock_off_by=1)
    assert codes == [0] * len(SINKS)
    await busy.verdict()
    off = [busy.clock_error(worker) for worker in range(-len(SINKS), 0)]
    assert [round(seconds / 3_600) for seconds in off] == [1, -1] * (len(SINKS) // 2)


async def test_backends_terminated_in_mid_transaction(busy: Busy) -> None:
    """What PostgreSQL ends of ours, while it is in a transaction, is done again."""
    ended = 0
    kill = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
                AND application_name = 'wishlist-social'"""
    async with busy.under_load(EVENTS):

        async def enough() -> bool:
            nonlocal ended
            ended += await busy.house.lab.pool.fetchval(kill)
            return ended >= TERMINATIONS

        await eventually(enough, 120, f"{TERMINATIONS} backends terminated")
    await busy.verdict()


async def test_no_connection_left(busy: Busy) -> None:
    """PostgreSQL has as many clients as it takes: every worker waits, and goes on when there is room."""
    lab, taken = busy.house.lab, []
    async with busy.under_load(EVENTS):
        give_up = time.monotonic() + 60
        while not busy.all_have_said("too many clients"):
            assert time.monotonic() < give_up, "not every worker has been refused a connection"
            await lab.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name = 'wishlist-social'"
            )
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await asyncpg.connect(lab.dsn))
            await asyncio.sleep(0.5)
        for connection in taken:
            await connection.close()
    await busy.verdict()


async def test_two_of_three_brokers_away(busy: Busy) -> None:
    """Nothing can be acknowledged: nobody loses its place, and all goes on when they are back."""
    async with busy.under_load(EVENTS):
        busy.cluster.kill(*NUMBERS[:2])
        await asyncio.sleep(float(os.environ.get("FAULT_BROKERS_AWAY_SECONDS", "8")))
        await asyncio.to_thread(busy.cluster.start, *NUMBERS[:2])
    await busy.verdict()


async def test_everything_replayed_into_every_sink(busy: Busy) -> None:
    """Nothing changes, and nobody is told or drawn anything again: those sinks refuse it."""
    before = await busy.quiet()
    for sink in SINKS:
        words = ("replay", sink.agent, "--from", "earliest", "--yes", "--rate", "1000000")
        said = await busy.house.lab.wishlist(*words, code=2 if sink.reaches_people else 0, within=1_800)
        assert ("--again" if sink.reaches_people else "records in") in said
    assert await busy.traces() == before
    await busy.verdict()


async def test_every_agent_reads_everything_again(busy: Busy) -> None:
    """As after a restore of an old backup of the watermarks alone: also who tells people tells nothing twice."""
    before = await busy.quiet()
    await busy.stop_workers()
    await busy.house.lab.pool.execute("UPDATE watermarks SET next_offset = 0")
    busy.start_workers()
    await busy.verdict()
    assert await busy.quiet() == before
