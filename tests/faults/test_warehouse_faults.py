"""Workers of the warehouse killed, joining and leaving, BigQuery away: every event is one row."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.bigquery import Warehouse
from schemas.event import ShareEvent
from schemas.segment import said_by
from sinks import bigquery, segment
from tests.lab import Lab, eventually, open_lab, story
from tests.warehouse import rows_of

EVENTS = int(os.environ.get("FAULT_EVENTS", "4000")) // 4
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture
async def lab(tmp_path: Path, warehouse: Warehouse) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        lab.env |= {
            "BIGQUERY_DATASET": warehouse.settings.dataset,
            "BIGQUERY_BATCH_SECONDS": "0.2",
            "BIGQUERY_BATCH_EVENTS": "50",
            "STREAM_RETRY_MAX_SECONDS": "1",
        }
        yield lab


@dataclass(frozen=True)
class Agent:
    """One of the agents that write to BigQuery, and what the events must become there."""

    name: str
    group: str
    table: str
    id_column: str
    id_of: Callable[[ShareEvent], str | None]

    def group_in(self, lab: Lab) -> str:
        """Its consumer group."""
        return self.group + lab.env["STREAM_GROUP_SUFFIX"]


def said_id(event: ShareEvent) -> str | None:
    """The message id of what the system says of *event*."""
    message = said_by(event)
    return None if message is None else message.message_id


AGENTS = (
    Agent("warehouse", bigquery.GROUP, "share_events", "event_id", lambda event: str(event.event_id)),
    Agent("segment", segment.GROUP, "segment_messages", "id", said_id),
)


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Agent:
    return request.param  # type: ignore[no-any-return]


async def every_event_is_one_row(lab: Lab, warehouse: Warehouse, agent: Agent, events: list[ShareEvent]) -> None:
    await lab.applied(agent.group_in(lab), 240)
    rows = await rows_of(warehouse, agent.id_column, agent.table)
    expected = (agent.id_of(event) for event in events)
    assert Counter(row[agent.id_column] for row in rows) == Counter(one for one in expected if one is not None)
    assert await lab.pool.fetchval("SELECT count(*) FROM warehouse_appends") == 0


async def test_killed_at_random_moments_and_everything_sent_twice(lab: Lab, warehouse: Warehouse, agent: Agent) -> None:
    events = story(EVENTS)
    part = len(events) // (KILLS + 1)
    dice = random.Random(11)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = sum((await lab.watermarks(agent.group_in(lab))).values())
        worker = lab.start(agent.name, STREAM_INSTANCE_ID="worker-1")

        async def moving(before: int = before) -> bool:
            return sum((await lab.watermarks(agent.group_in(lab))).values()) > before

        await eventually(moving, 60, "the worker applies something")
        await asyncio.sleep(dice.uniform(0, 0.3))
        worker.kill()
        worker.wait()
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start(agent.name, STREAM_INSTANCE_ID="worker-1")
    await every_event_is_one_row(lab, warehouse, agent, events)


async def test_a_second_worker_joins_and_leaves(lab: Lab, warehouse: Warehouse, agent: Agent) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start(agent.name)
    for number in range(2):
        second = lab.start(agent.name)
        lab.produce_events(events[half + number * (half // 2) : half + (number + 1) * (half // 2)])
        await asyncio.sleep(4)
        second.send_signal(signal.SIGKILL if number else signal.SIGTERM)
        second.wait(30)
    lab.produce_events(events[half + 2 * (half // 2) :])
    await every_event_is_one_row(lab, warehouse, agent, events)


async def test_a_frozen_worker_adds_nothing_when_it_wakes(lab: Lab, warehouse: Warehouse, agent: Agent) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    frozen = lab.start(agent.name)

    async def moving() -> bool:
        return sum((await lab.watermarks(agent.group_in(lab))).values()) > 0

    await eventually(moving, 60, "the first worker applies something")
    frozen.send_signal(signal.SIGSTOP)
    lab.start(agent.name)
    lab.produce_events(events[half:])
    await lab.applied(agent.group_in(lab), 240)
    frozen.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    await every_event_is_one_row(lab, warehouse, agent, events)
