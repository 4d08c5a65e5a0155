"""Workers of the warehouse killed, joining and leaving, BigQuery away: every event is one row."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from clients.bigquery import Warehouse
from schemas.event import ShareEvent
from sinks.bigquery import GROUP
from tests.lab import Lab, eventually, open_lab, story
from tests.warehouse import open_warehouse, rows_of

EVENTS = int(os.environ.get("FAULT_EVENTS", "4000")) // 4
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture
async def warehouse() -> AsyncIterator[Warehouse]:
    async with open_warehouse(f"faults_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


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


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def every_event_is_one_row(lab: Lab, warehouse: Warehouse, events: list[ShareEvent]) -> None:
    await lab.applied(group(lab), 240)
    rows = await rows_of(warehouse, "event_id, event_type, share_id, is_bot")
    assert Counter(row["event_id"] for row in rows) == Counter(str(event.event_id) for event in events)
    assert await lab.pool.fetchval("SELECT count(*) FROM warehouse_appends") == 0


async def test_killed_at_random_moments_and_everything_sent_twice(lab: Lab, warehouse: Warehouse) -> None:
    events = story(EVENTS)
    part = len(events) // (KILLS + 1)
    dice = random.Random(11)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = sum((await lab.watermarks(group(lab))).values())
        worker = lab.start("warehouse", STREAM_INSTANCE_ID="worker-1")

        async def moving(before: int = before) -> bool:
            return sum((await lab.watermarks(group(lab))).values()) > before

        await eventually(moving, 60, "the worker applies something")
        await asyncio.sleep(dice.uniform(0, 0.3))
        worker.kill()
        worker.wait()
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start("warehouse", STREAM_INSTANCE_ID="worker-1")
    await every_event_is_one_row(lab, warehouse, events)


async def test_a_second_worker_joins_and_leaves(lab: Lab, warehouse: Warehouse) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start("warehouse")
    for number in range(2):
        second = lab.start("warehouse")
        lab.produce_events(events[half + number * (half // 2) : half + (number + 1) * (half // 2)])
        await asyncio.sleep(4)
        second.send_signal(signal.SIGKILL if number else signal.SIGTERM)
        second.wait(30)
    lab.produce_events(events[half + 2 * (half // 2) :])
    await every_event_is_one_row(lab, warehouse, events)


async def test_a_frozen_worker_adds_nothing_when_it_wakes(lab: Lab, warehouse: Warehouse) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    frozen = lab.start("warehouse")

    async def moving() -> bool:
        return sum((await lab.watermarks(group(lab))).values()) > 0

    await eventually(moving, 60, "the first worker applies something")
    frozen.send_signal(signal.SIGSTOP)
    lab.start("warehouse")
    lab.produce_events(events[half:])
    await lab.applied(group(lab), 240)
    frozen.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    await every_event_is_one_row(lab, warehouse, events)
