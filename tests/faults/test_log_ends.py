"""Where the logs end is told while a broker is away, by those that lead in its place."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from clients.log_ends import LogEnds
from tests.cluster import Cluster
from tests.lab import eventually, open_lab, story

ASKS = 5

pytestmark = pytest.mark.timeout(900)


async def test_a_broker_that_has_died_is_not_asked_for_ever(cluster: Cluster, tmp_path: Path) -> None:
    """librdkafka waits for one whenever it is asked, though others lead, and keeps a core busy meanwhile."""
    async with open_lab(tmp_path, cluster.bootstrap_servers) as lab:
        lab.produce_events(story(1_000))
        topic = lab.kafka.events_topic
        ends, before = LogEnds(lab.kafka), {(topic, number): end for number, end in lab.end_offsets().items()}

        async def told() -> bool:
            return await asyncio.to_thread(ends.of, list(before)) == before

        await eventually(told, 60, "the ends are known")
        leader = await asyncio.to_thread(cluster.leader_of, topic, 0)
        cluster.kill(leader)
        await eventually(told, 60, "others lead")
        process, began = psutil.Process(), time.monotonic()
        busy = sum(process.cpu_times()[:2])
        for _ in range(ASKS):
            assert await told()
            await asyncio.sleep(1)
        # Half of one core, or more, where it is waited for; next to nothing where it is not.
        assert sum(process.cpu_times()[:2]) - busy < 0.2 * (time.monotonic() - began)
