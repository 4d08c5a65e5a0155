"""Every sink at once, on three brokers: whatever brokers, database and workers suffer, each has each event once.

Each test adds events of its own and leaves a worker of each agent at work; the verdict is about all events so far.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import pytest
import pytest_asyncio

from clients.links import TOMBSTONE, share_key
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks import archive
from tests.cluster import NUMBERS, Cluster
from tests.every_sink import SINKS, House, SinkUnderTest, lively_story, open_house
from tests.lab import eventually, open_lab
from tests.lab_api import open_api
from tests.own_services import OwnServices, open_services
from tests.worker import Process

EVENTS = int(os.environ.get("FAULT_HOUSE_EVENTS", "200"))
KILL_EVENTS = int(os.environ.get("FAULT_EVENTS", "600"))
KILLS = int(os.environ.get("FAULT_KILLS", "1"))
JOINS = int(os.environ.get("FAULT_JOINS", "2"))
BROKER_KILLS = int(os.environ.get("FAULT_BROKER_KILLS", "1"))
TERMINATIONS = int(os.environ.get("FAULT_TERMINATIONS", "10"))
OUTAGE_SECONDS = float(os.environ.get("FAULT_OUTAGE_SECONDS", "8"))

# What a replay moves without anything having changed: positions, itself, and the archive's notes of what
# was looked through.
MOVING = {"watermarks", "replays", "archive_spans", "warehouse_owners"}
# A share that nobody draws a picture of is tried again and again.
STEADY = {"previews": "share_id, share_token, state, purged_at"}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(7_200)]
# Eight workers take a while to start: `./run test` does the tests that catch most in the shortest time.
long_form = pytest.mark.skipif("FAULT_HOUSE_EVENTS" not in os.environ, reason="long: ./run test faults")


@dataclass
class Busy:
    """The house with a worker of each agent at work, and all that it was ever sent."""

    house: House
    cluster: Cluster
    services: OwnServices
    events: list[ShareEvent] = field(default_factory=list)

    @property
    def running(self) -> list[Process]:
        """Workers that were started and have not ended."""
        return [worker for worker in self.house.lab.workers if worker.poll() is None]

    def start_workers(self, place: int = 1, clock_off_by: float = 0) -> dict[str, Process]:
        """One of each agent, under that place in its group; clocks are fast and slow by so many hours."""
        lab, started = self.house.lab, {}
        for number, sink in enumerate(SINKS):
            clock = lab.clock_off_by(clock_off_by * (-1) ** number) if clock_off_by else {}
            started[sink.agent] = lab.start(sink.agent, STREAM_INSTANCE_ID=f"{sink.agent}-{place}", **clock)
        return started

    async def at_work(self) -> None:
        """See to a worker of each agent where none runs, and to events, as in a test that is run alone."""
        if not self.running:
            self.start_workers()
        if not self.events:
            self.send(EVENTS)
        for sink in SINKS:
            await sink.begins(self.house)

    def send(self, count: int) -> None:
        """Have so many events more."""
        portion = lively_story(count)
        self.house.lab.produce_events(portion)
        self.events += portion

    @asynccontextmanager
    async def under_load(self, count: int) -> AsyncIterator[None]:
        """Events come in, in portions, as long as the block takes; *count* at least."""
        over = asyncio.Event()

        async def pour() -> None:
            sent = 0
            while sent < count or not over.is_set():
                await asyncio.to_thread(self.send, count // 20 + 1 if sent < count else 51)
                sent += count // 20 + 1
                await asyncio.sleep(0.5)

        pouring = asyncio.create_task(pour())
        try:
            yield
        finally:
            over.set()
            await pouring

    @asynccontextmanager
    async def looking_up(self, expected: Mapping[str, int]) -> AsyncIterator[Callable[[], int]]:
        """An API, of which the owner asks for these links again and again: each answers *expected*; how often so far.

        An owner's own looks are no views, and so no events.
        """
        done, over = 0, asyncio.Event()
        async with open_api(self.house.lab) as api:

            async def look() -> None:
                nonlocal done
                while not over.is_set():
                    for token, status in expected.items():
                        answer = await api.get(f"/api/v2/wishlists/shared/{token}")
                        assert answer.status_code == status, answer.text
                        done += 1
                    await asyncio.sleep(0.1)

            looking = asyncio.create_task(look())
            try:
                yield lambda: done
            finally:
                over.set()
                await looking

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
        running = self.running
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

        # A webhook is called once at a time.
        await eventually(steady, 240 + len(self.events) / 100, "all that waits is told")
        return found

    async def verdict(self) -> None:
        """Each event once in each sink, and Kafka was told of no more."""
        for sink in SINKS:
            await sink.holds_each_once(self.house, self.events)
        ends = {worker.poll() for worker in self.house.lab.workers}
        # By SIGTERM itself ends who is told to before it listens for that.
        assert ends <= {None, 0, -signal.SIGTERM, -signal.SIGKILL}, "none has crashed"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busy(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Busy]:
    logs = tmp_path_factory.mktemp("house")
    with open_services() as services:
        async with open_lab(logs, cluster.bootstrap_servers, services) as lab, open_house(lab) as house:
            yield Busy(house, cluster, services)


async def test_workers_killed_at_random_moments(busy: Busy) -> None:
    dice = random.Random(7)
    lab = busy.house.lab

    async def die(sink: SinkUnderTest, worker: Process, above: int) -> None:
        await sink.begins(busy.house, above)
        await asyncio.sleep(dice.uniform(0, 0.3))
        worker.kill()
        worker.wait()
        await sink.kafka_is_never_ahead(lab)

    for _ in range(KILLS):
        # Each worker is given events of its own in small batches: however fast it is, it dies with work to do.
        stood = {sink: await sink.progress(lab) for sink in SINKS}
        busy.send(KILL_EVENTS // (KILLS + 1))
        workers = busy.start_workers()
        await asyncio.gather(*(die(sink, workers[sink.agent], stood[sink]) for sink in SINKS))
    busy.send(KILL_EVENTS // (KILLS + 1))
    busy.start_workers()
    await busy.verdict()
    for sink in SINKS:
        # The last worker may have nothing left to apply, and still be starting when its predecessor's work is complete.
        await sink.kafka_is_told(lab)


@long_form
async def test_workers_join_and_leave_and_one_of_each_freezes(busy: Busy) -> None:
    await busy.at_work()
    first = busy.running
    for number in range(JOINS):
        second = busy.start_workers(place=2)
        busy.send(EVENTS)
        await asyncio.sleep(8)
        busy.send(EVENTS)
        for worker in second.values():
            worker.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
        for worker in second.values():
            await asyncio.to_thread(worker.wait, 60)
    await busy.verdict()
    stood = {sink: await sink.progress(busy.house.lab) for sink in SINKS}
    busy.send(EVENTS)
    for sink in SINKS:
        await sink.begins(busy.house, stood[sink])
    for worker in first:
        worker.send_signal(signal.SIGSTOP)
    busy.start_workers(place=2)
    busy.send(EVENTS)
    await busy.verdict()
    for worker in first:
        worker.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    await busy.verdict()
    for worker in first:
        worker.kill()
        worker.wait()


async def test_leaders_killed_under_load(busy: Busy) -> None:
    topics = [busy.house.lab.kafka.events_topic, "__consumer_offsets"]
    await busy.at_work()
    async with busy.under_load(EVENTS):
        for number in range(BROKER_KILLS):
            leader = await asyncio.to_thread(busy.cluster.leader_of, topics[0], number)
            busy.cluster.kill(leader)
            await asyncio.to_thread(busy.cluster.leader_of, topics[0], number)
            await asyncio.to_thread(busy.cluster.start, leader)
            await asyncio.to_thread(busy.cluster.heal, topics)
    await busy.verdict()


@long_form
async def test_workers_stopped_in_mid_batch(busy: Busy) -> None:
    """SIGTERM to all while they write: each ends by itself, and its successor goes on."""
    await busy.at_work()
    async with busy.under_load(EVENTS):
        await asyncio.sleep(1)
        codes = await busy.stop_workers()
        # Their successors have clocks that are an hour fast or slow, from here on: no effect may come of that.
        busy.start_workers(clock_off_by=1)
    assert codes == [0] * len(SINKS)
    await busy.verdict()
    off = [busy.clock_error(worker) for worker in range(-len(SINKS), 0)]
    assert [round(seconds / 3_600) for seconds in off] == [1, -1] * (len(SINKS) // 2)


@long_form
async def test_backends_terminated_in_mid_transaction(busy: Busy) -> None:
    """What PostgreSQL ends of ours, while it is in a transaction, is done again."""
    await busy.at_work()
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


@long_form
async def test_no_connection_left(busy: Busy) -> None:
    """PostgreSQL has as many clients as it takes: every worker waits, and goes on when there is room."""
    await busy.at_work()
    lab = busy.house.lab
    taken: list[asyncpg.Connection] = []
    async with busy.under_load(EVENTS):

        async def all_refused() -> bool:
            await lab.pool.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'wishlist-social'"""
            )
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await asyncpg.connect(lab.dsn))
            return busy.all_have_said("too many clients")

        try:
            await eventually(all_refused, 120, "every worker was refused a connection")
        finally:
            for connection in taken:
                await connection.close()
    await busy.verdict()


@long_form
async def test_postgres_restarted_and_away(busy: Busy) -> None:
    """Shut down, and then killed, while all write; nobody ends over it, and all goes on when it is back."""
    await busy.at_work()
    at_work = busy.running
    async with busy.under_load(EVENTS):
        await asyncio.sleep(1)
        await asyncio.to_thread(busy.services.restart, "postgres")
        stood = {sink: await sink.progress(busy.house.lab) for sink in SINKS}
        busy.send(EVENTS)
        for sink in SINKS:
            await sink.begins(busy.house, stood[sink])
        await asyncio.to_thread(busy.services.kill, "postgres")
        await asyncio.sleep(OUTAGE_SECONDS)
        await asyncio.to_thread(busy.services.start, "postgres")
    await busy.verdict()
    assert busy.running == at_work


@long_form
async def test_redis_emptied_restarted_and_away(busy: Busy) -> None:
    """Nothing is lost that Redis alone knew, links work all the time, and what was to be ended there is in the end."""
    await busy.at_work()
    await busy.verdict()
    lab, at_work = busy.house.lab, busy.running
    ended = {event.share_token for event in busy.events if event.event_type is EventType.REVOKED}
    alive = sorted({event.share_token for event in busy.events} - ended)[:20]
    deleted = new_share_token()

    def holds_tombstone() -> bool:
        with busy.services.open_redis() as redis:
            return redis.get(share_key(deleted)) == TOMBSTONE.decode()

    async with busy.looking_up({**dict.fromkeys(alive, 200), **dict.fromkeys(sorted(ended)[:5], 404)}) as looked:
        async with busy.under_load(EVENTS):
            for _ in range(5):
                with busy.services.open_redis() as redis:
                    redis.flushall()
                await asyncio.sleep(0.5)
            await asyncio.to_thread(busy.services.restart, "redis")
            await asyncio.to_thread(busy.services.kill, "redis")
            # What a deleted list leaves behind: its links are ended in Redis too.
            await lab.pool.execute(
                "INSERT INTO ended_lists (wishlist_id, share_tokens) VALUES (gen_random_uuid(), $1)", [deleted]
            )
            before = looked()
            await asyncio.sleep(OUTAGE_SECONDS)
            assert looked() > before, "links were opened without it"
            await asyncio.to_thread(busy.services.start, "redis")
        await eventually(lambda: asyncio.to_thread(holds_tombstone), 60, "the deleted list's link is ended in Redis")
    await busy.verdict()
    assert busy.running == at_work


@long_form
async def test_two_of_three_brokers_away(busy: Busy) -> None:
    """Nothing can be acknowledged: nobody loses its place, and all goes on when they are back."""
    await busy.at_work()
    async with busy.under_load(EVENTS):
        busy.cluster.kill(*NUMBERS[:2])
        await asyncio.sleep(float(os.environ.get("FAULT_BROKERS_AWAY_SECONDS", "8")))
        await asyncio.to_thread(busy.cluster.start, *NUMBERS[:2])
    await busy.verdict()


async def test_everything_produced_twice(busy: Busy) -> None:
    await busy.at_work()
    busy.house.lab.produce_events(busy.events)
    await busy.verdict()


@long_form
async def test_everything_replayed_into_every_sink(busy: Busy) -> None:
    """Nothing changes, and nobody is told or drawn anything again: those sinks refuse it."""
    await busy.at_work()
    before = await busy.quiet()
    for sink in SINKS:
        words = ("replay", sink.agent, "--from", "earliest", "--yes", "--rate", "1000000")
        said = await busy.house.lab.wishlist(*words, code=2 if sink.reaches_people else 0, within=1_800)
        assert ("--again" if sink.reaches_people else "records in") in said
    assert await busy.traces() == before
    await busy.verdict()


async def test_every_agent_reads_everything_again(busy: Busy) -> None:
    """Also who tells people tells nothing twice. The archive notes what it has looked through, and is not asked to."""
    await busy.at_work()
    before = await busy.quiet()
    await busy.stop_workers()
    await busy.house.lab.pool.execute(
        "UPDATE watermarks SET next_offset = 0 WHERE consumer_group <> $1",
        archive.GROUP + busy.house.lab.env["STREAM_GROUP_SUFFIX"],
    )
    busy.start_workers()
    await busy.verdict()
    assert await busy.quiet() == before
