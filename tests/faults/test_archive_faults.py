"""The archive agent killed, joined, frozen, told everything twice: the listed files hold each event once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter

import pytest

from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings
from ops.archive import faults_of
from schemas.event import ShareEvent
from sinks.archive import GROUP
from sinks.archive_files import ArchiveReader
from tests.lab import Lab, eventually, story

EVENTS = int(os.environ.get("FAULT_EVENTS", "4000"))
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture(autouse=True)
def settings(lab: Lab) -> None:
    prefix = f"archive/{lab.kafka.events_topic.split('.')[0]}/"
    lab.env |= {"ARCHIVE_BATCH_SECONDS": "0.3", "ARCHIVE_BATCH_EVENTS": "300", "ARCHIVE_PREFIX": prefix}


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def moved(lab: Lab, before: int = 0) -> None:
    async def moving() -> bool:
        return sum((await lab.watermarks(group(lab))).values()) > before

    await eventually(moving, 60, "the worker archives something")


async def each_event_is_archived_once(lab: Lab, events: list[ShareEvent]) -> None:
    await lab.applied(group(lab), 240)
    database, store = Database(PostgresSettings(dsn=lab.dsn)), ObjectStore(ObjectStoreSettings())
    try:
        found = [one async for one in ArchiveReader(database, store, group(lab)).events()]
        assert Counter(one.event.event_id for one in found) == Counter({event.event_id for event in events})
        assert {one.event.event_id: one.event for one in found} == {event.event_id: event for event in events}
        for number in range(12):
            offsets = [one.origin.offset for one in found if one.origin.partition == number]
            assert offsets == sorted(set(offsets)), "in the order in which they lie in the topic"
        assert [fault async for fault in faults_of(database, store, group(lab))] == []
    finally:
        await (await database.pool()).close()
        async for stored in store.listing(lab.env["ARCHIVE_PREFIX"]):
            await store.delete(stored.key)


async def test_killed_at_random_moments_and_everything_sent_twice(lab: Lab) -> None:
    events = story(EVENTS)
    part = len(events) // (KILLS + 1)
    dice = random.Random(4)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = sum((await lab.watermarks(group(lab))).values())
        worker = lab.start("archive", STREAM_INSTANCE_ID="worker-1", STREAM_MAX_POLL_RECORDS="50")
        await moved(lab, before)
        await asyncio.sleep(dice.uniform(0, 0.5))
        worker.kill()
        worker.wait()
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start("archive", STREAM_INSTANCE_ID="worker-1")
    await each_event_is_archived_once(lab, events)


async def test_a_second_worker_joins_and_leaves(lab: Lab) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start("archive")
    for number in range(2):
        second = lab.start("archive")
        lab.produce_events(events[half + number * (half // 2) : half + (number + 1) * (half // 2)])
        await asyncio.sleep(4)
        second.send_signal(signal.SIGKILL if number else signal.SIGTERM)
        second.wait(30)
    lab.produce_events(events[half + 2 * (half // 2) :])
    await each_event_is_archived_once(lab, events)


async def test_a_frozen_worker_lists_nothing_when_it_wakes(lab: Lab) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    frozen = lab.start("archive")
    await moved(lab)
    frozen.send_signal(signal.SIGSTOP)
    lab.start("archive")
    lab.produce_events(events[half:])
    await lab.applied(group(lab), 240)
    frozen.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    await each_event_is_archived_once(lab, events)


async def test_a_record_that_is_no_event_is_put_aside_and_accounted_for(lab: Lab) -> None:
    events = story(200)
    lab.produce_events(events[:100])
    lab.produce([(events[0].share_token, b"nonsense")])
    lab.produce_events(events[100:])
    lab.start("archive")
    [(headers, value)] = lab.dead_letters(1)
    assert value == b"nonsense"
    assert headers["group"] == group(lab)
    await each_event_is_archived_once(lab, events)
