"""Shares are made while two of three brokers are away: answered at once, and their events keep their order."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.event import EventType, ShareEvent
from sinks.share_store import GROUP
from tests.cluster import Cluster
from tests.lab import Lab, event_of, eventually, open_lab
from tests.lab_api import VISITOR, open_api

AWAY_SECONDS = float(os.environ.get("FAULT_BROKERS_AWAY_SECONDS", "8"))
WISHLIST = "/api/v2/wishlists/wl_8a2b3c4d5e6f"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
async def lab(tmp_path: Path, cluster: Cluster) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path, cluster.bootstrap_servers) as lab:
        yield lab


@pytest.fixture
async def api(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """An API of the lab's own, and an owner signed in. It has patience with all but Kafka, which this is about."""
    lab.env |= {"REDIS_TIMEOUT_SECONDS": "5", "API_DATABASE_SECONDS": "30"}
    async with open_api(lab) as client:
        yield client


async def share_and_end(api: httpx.AsyncClient) -> str:
    """Make a share, have it looked at, change it, and end it; each of these is answered."""
    made = await api.post(f"{WISHLIST}/share", json={"channel": "copy_link"})
    assert made.status_code == 201, made.text
    token: str = made.json()["share_token"]
    # Owners' own looks are no views.
    async with httpx.AsyncClient(base_url=api.base_url, headers=VISITOR, timeout=30) as visitor:
        seen = await visitor.get(f"/api/v2/wishlists/shared/{token}")
    assert seen.status_code == 200, seen.text
    changed = await api.put(f"{WISHLIST}/shares/{token}/items/item_abc123", json={"visible": False})
    assert changed.is_success, changed.text
    ended = await api.delete(f"{WISHLIST}/shares/{token}")
    assert ended.status_code == 204, ended.text
    return token


async def toggle_until(over: asyncio.Event, api: httpx.AsyncClient, token: str) -> int:
    """Show and hide an item of the share in turns, one answer after another; how many times."""
    count = 0
    while not over.is_set():
        answer = await api.put(f"{WISHLIST}/shares/{token}/items/item_abc123", json={"visible": bool(count % 2)})
        assert answer.is_success, answer.text
        count += 1
        await asyncio.sleep(0.05)
    return count


def in_topic(lab: Lab) -> dict[str, list[ShareEvent]]:
    """Each share's events as Kafka has them, in order; what is there twice counts where it is first."""
    topic = lab.kafka.events_topic
    consumer = Consumer({"bootstrap.servers": lab.kafka.bootstrap_servers, "group.id": "order"})
    ends = lab.end_offsets()
    consumer.assign([TopicPartition(topic, number, 0) for number in ends])
    seen: set[object] = set()
    order: dict[str, list[ShareEvent]] = defaultdict(list)
    left = sum(ends.values())
    while left:
        records = consumer.consume(1_000, 10)
        assert records, "the topic could not be read to its end"
        for record in records:
            if record.error() is not None:
                continue
            left -= 1
            event = event_of(record)
            if event.event_id not in seen:
                order[event.share_token].append(event)
            seen.add(event.event_id)
    consumer.close()
    return order


async def test_creation_goes_on_and_order_is_kept(lab: Lab, cluster: Cluster, api: httpx.AsyncClient) -> None:
    lab.start()
    tokens = [await share_and_end(api)]
    made = await api.post(f"{WISHLIST}/share", json={"channel": "copy_link"})
    toggled = made.json()["share_token"]
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    cluster.kill(1, 2)
    enough = asyncio.Event()
    toggling = asyncio.create_task(toggle_until(enough, api, toggled))
    over = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < over:
        tokens += await asyncio.gather(*(share_and_end(api) for _ in range(5)))
    away = len(tokens) - 1
    assert await lab.pool.fetchval("SELECT count(DISTINCT share_token) FROM event_outbox") == away + 1

    # It all goes on while the outbox empties: nothing may overtake what waits there of its own share.
    returning = asyncio.create_task(asyncio.to_thread(cluster.start, 1, 2))
    while not returning.done():
        tokens.append(await share_and_end(api))
    await returning

    async def sent() -> bool:
        return not await lab.pool.fetchval("SELECT count(*) FROM event_outbox WHERE share_token <> $1", toggled)

    await eventually(sent, 120, "the outbox is empty")
    enough.set()
    toggles = await toggling
    await eventually(lambda: lab.pool.fetchval("SELECT count(*) = 0 FROM event_outbox"), 60, "the outbox is empty")
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    found = await asyncio.to_thread(in_topic, lab)
    # A view goes its own way: it may come at any place behind its share's making.
    order = {
        token: [one for one in events if one.event_type is not EventType.VIEWED] for token, events in found.items()
    }
    for events in order.values():
        assert [one.timestamp for one in events] == sorted(one.timestamp for one in events), "as they were answered"
    expected = [EventType.CREATED, EventType.SETTINGS_CHANGED, EventType.REVOKED]
    assert {token: [one.event_type for one in order[token]] for token in tokens} == dict.fromkeys(tokens, expected)
    assert len(order[toggled]) == 1 + toggles
    assert set(order) == {*tokens, toggled}, "no share but those that were answered"

    async def counted() -> bool:
        found = (await lab.totals())["raw"]
        return found == len(tokens)

    await eventually(counted, 60, "each view once")
    totals = await lab.totals()
    assert totals["shares"] - 1 == totals["revoked"] == len(tokens)
    print(f"{away} shares made while two of three brokers were away, and {toggles} changes of one")
