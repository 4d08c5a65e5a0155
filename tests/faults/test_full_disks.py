"""No room left, under a broker and under PostgreSQL: the rest goes on, or waits, and nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import psutil
import pytest

from sinks.share_store import GROUP
from tests.cluster import Cluster
from tests.lab import Lab, eventually, expected_totals, free_port, health, open_lab, story
from tests.small_disk import small_disk

EVENTS = 5_000
BROKER = 3


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


def megabytes_of(folder: Path) -> int:
    return int(subprocess.check_output(["du", "-sm", str(folder)]).split()[0])


@pytest.mark.timeout(600)
async def test_under_a_broker(tmp_path: Path, cluster: Cluster) -> None:
    """It stops by itself; the two that are left go on, and it catches up when there is room again."""
    async with open_lab(tmp_path, cluster.bootstrap_servers) as lab:
        events = story(EVENTS)
        lab.start()
        lab.produce_events(events[: EVENTS // 2])
        await lab.applied(group(lab))
        cluster.kill(BROKER)
        home = cluster.data[BROKER]
        with small_disk(megabytes_of(home) + 64) as disk:
            cluster.move(BROKER, disk.folder)
            cluster.start(BROKER)
            cluster.heal([lab.kafka.events_topic])
            disk.fill()
            lab.produce_events(events[EVENTS // 2 :])

            async def stopped() -> bool:
                return not cluster.is_alive(BROKER)

            await eventually(stopped, 60, "a broker that cannot write stops")
            await lab.applied(group(lab))
            assert await lab.totals() == expected_totals(events)
            disk.free()
            cluster.start(BROKER)
            cluster.heal([lab.kafka.events_topic])
            cluster.kill(BROKER)
            home.rename(tmp_path / "before")
            home.mkdir()
            cluster.move(BROKER, home)
        cluster.start(BROKER)
        cluster.heal([lab.kafka.events_topic])
        more = story(500)
        lab.produce_events(more)
        await lab.applied(group(lab))
        assert await lab.totals() == expected_totals([*events, *more])


async def test_under_postgresql(lab: Lab) -> None:
    """The worker waits and says what for; when there is room again all that came meanwhile is applied once."""
    port = free_port()
    lab.env["STREAM_RETRY_MAX_SECONDS"] = "1"
    lock_file = await lab.pool.fetchval("SELECT pg_read_file('postmaster.pid')")
    with small_disk(48, psutil.Process(int(lock_file.split()[0])).username()) as disk:
        space = lab.kafka.events_topic.replace(".", "_")
        await lab.pool.execute(f"CREATE TABLESPACE {space} LOCATION '{disk.folder}'")
        try:
            for kind in ("TABLE", "INDEX"):
                await lab.pool.execute(f"ALTER {kind} ALL IN TABLESPACE pg_default SET TABLESPACE {space}")
            events = story(EVENTS)
            lab.start(STREAM_METRICS_PORT=port)
            lab.produce_events(events[:500])
            await lab.applied(group(lab))
            disk.fill()
            lab.produce_events(events[500:])

            async def waiting() -> bool:
                _, state, why = await asyncio.to_thread(health, port, "healthz")
                return state == "waiting" and "No space left" in why

            await eventually(waiting, 60, "the worker waits for room")
            disk.free()
            await lab.applied(group(lab))
            assert await lab.totals() == expected_totals(events)
            assert sum(lab.end_offsets(lab.kafka.dlq_topic).values()) == 0
        finally:
            lab.stop_all()
            for kind in ("TABLE", "INDEX"):
                await lab.pool.execute(f"ALTER {kind} ALL IN TABLESPACE {space} SET TABLESPACE pg_default")
            await lab.pool.execute(f"DROP TABLESPACE {space}")
