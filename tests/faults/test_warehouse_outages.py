"""BigQuery refuses, is slow, is over quota, loses answers or dislikes a row: nothing is lost, doubled or held up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from clients.bigquery import Warehouse
from config.settings import WarehouseSettings
from schemas.event import EventType, ShareEvent
from schemas.ids import uuid7
from sinks.bigquery import GROUP
from tests.bigquery_proxy import Faults, open_proxy
from tests.lab import Lab, event, eventually, free_port, health, open_lab, story
from tests.warehouse import rows_of


@pytest.fixture
async def proxied(tmp_path: Path, warehouse: Warehouse) -> AsyncIterator[tuple[Lab, Faults]]:
    target = WarehouseSettings().storage_endpoint
    assert target is not None
    with open_proxy(target) as (address, faults):
        async with open_lab(tmp_path) as lab:
            lab.env |= {
                "BIGQUERY_DATASET": warehouse.settings.dataset,
                "BIGQUERY_STORAGE_ENDPOINT": address,
                "BIGQUERY_BATCH_SECONDS": "0.2",
                "BIGQUERY_BATCH_EVENTS": "100",
                "BIGQUERY_TIMEOUT_SECONDS": "3",
                "STREAM_RETRY_MAX_SECONDS": "1",
            }
            yield lab, faults


async def all_once(lab: Lab, warehouse: Warehouse, events: list[ShareEvent]) -> None:
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    rows = await rows_of(warehouse, "event_id")
    assert Counter(row["event_id"] for row in rows) == Counter(str(event.event_id) for event in events)


async def met(faults: Faults, times: int) -> None:
    async def enough() -> bool:
        return faults.met >= times

    await eventually(enough, 60, "the fault is met")


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED],
    ids=lambda code: code.name.lower(),
)
async def test_refused_for_a_while(proxied: tuple[Lab, Faults], warehouse: Warehouse, code: grpc.StatusCode) -> None:
    lab, faults = proxied
    events = story(400)
    faults.refuse_with = code
    lab.produce_events(events)
    worker = lab.start("warehouse")
    await met(faults, 3)
    assert worker.poll() is None
    assert await rows_of(warehouse, "event_id") == []
    faults.refuse_with = None
    await all_once(lab, warehouse, events)
    assert not lab.dead_letters(0)


async def test_a_stream_is_refused_for_a_while(proxied: tuple[Lab, Faults], warehouse: Warehouse) -> None:
    """The worker says what it waits for, and its own pauses are the only ones: Google's last for minutes."""
    lab, faults = proxied
    events, port = story(400), free_port()
    faults.refuse_streams_with = grpc.StatusCode.UNAVAILABLE
    lab.produce_events(events)
    lab.start("warehouse", STREAM_METRICS_PORT=port)
    await met(faults, 5)
    status, state, why = await asyncio.to_thread(health, port, "healthz")
    assert (status, state) == (200, "waiting")
    assert "ServiceUnavailable" in why
    faults.refuse_streams_with = None
    await all_once(lab, warehouse, events)


async def test_answers_that_are_lost_are_asked_for_and_not_written_again(
    proxied: tuple[Lab, Faults], warehouse: Warehouse
) -> None:
    lab, faults = proxied
    events = story(400)
    faults.swallow_answers = True
    lab.produce_events(events)
    lab.start("warehouse")
    await met(faults, 3)
    faults.swallow_answers = False
    await all_once(lab, warehouse, events)


async def test_slower_than_the_time_out(proxied: tuple[Lab, Faults], warehouse: Warehouse) -> None:
    lab, faults = proxied
    events = story(300)
    faults.delay_seconds = 5.0
    lab.produce_events(events)
    lab.start("warehouse")
    await met(faults, 2)
    faults.delay_seconds = 0.5
    await all_once(lab, warehouse, events)


async def test_one_bad_row_of_a_batch_is_put_aside_alone(proxied: tuple[Lab, Faults], warehouse: Warehouse) -> None:
    lab, faults = proxied
    good = story(300)
    bad = event(EventType.VIEWED, good[0].share_token, page_view_id=uuid7(), visitor_hash="the-bad-row")
    faults.bad_row = b"the-bad-row"
    lab.produce_events([*good[:150], bad, *good[150:]])
    lab.start("warehouse")
    await all_once(lab, warehouse, good)
    [(headers, _)] = lab.dead_letters(1)
    assert headers["event_id"] == str(bad.event_id)
    assert "bad row" in headers["error_message"]
    assert faults.refused[-1] == 1, "it was halved until the row stood alone"
