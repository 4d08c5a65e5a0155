"""The webhook agent killed, joined, told everything twice: its receiver hears of each event, of few again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator

import pytest

from clients import webhooks
from notifications.webhook import is_told
from ops.seed import key_of
from schemas.event import ShareEvent
from sinks.webhook import GROUP
from tests.lab import Lab, eventually, story
from tests.webhook_receiver import Receiver, open_receiver

EVENTS = int(os.environ.get("FAULT_EVENTS", "4000")) // 4
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def webhook(lab: Lab, receiver: Receiver) -> None:
    # A short time-out makes for a short lease.
    lab.env |= {"WEBHOOK_ALLOW_PRIVATE": "true", "WEBHOOK_TIMEOUT_SECONDS": "1", "WEBHOOK_LATEST_SECONDS": "172800"}
    receiver.secrets["/"] = webhooks.new_secret()
    await lab.pool.execute(webhooks.SET, key_of("user_maya"), receiver.url(), receiver.secrets["/"], False)
    await lab.pool.execute("UPDATE webhooks SET enabled_at = now() - interval '2 days'")


async def everything_is_delivered(lab: Lab, receiver: Receiver, events: list[ShareEvent], repeats: int) -> None:
    await lab.applied(GROUP + lab.env["STREAM_GROUP_SUFFIX"], 240)

    async def settled() -> bool:
        return not await lab.pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'due'")

    await eventually(settled, 120, "nothing waits")
    expected = {str(event.event_id) for event in events if is_told(event)}
    assert await lab.pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'taken'") == len(expected)
    assert {call.body["data"]["event_id"] for call in receiver.calls} == expected
    ids = receiver.ids()
    assert len(set(ids)) == len(expected), "an event has one id"
    assert len(ids) - len(set(ids)) <= repeats
    assert all(call.is_genuine for call in receiver.calls)
    assert receiver.most_at_once == 1


async def test_killed_at_random_moments_and_everything_sent_twice(lab: Lab, receiver: Receiver) -> None:
    events = story(EVENTS)
    part = len(events) // (KILLS + 1)
    dice = random.Random(4)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = len(receiver.calls)
        worker = lab.start("webhook", STREAM_INSTANCE_ID="worker-1", STREAM_MAX_POLL_RECORDS="50")

        async def calling(before: int = before) -> bool:
            return len(receiver.calls) > before

        await eventually(calling, 60, "the worker calls")
        await asyncio.sleep(dice.uniform(0, 0.3))
        worker.kill()
        worker.wait()
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start("webhook", STREAM_INSTANCE_ID="worker-1")
    await everything_is_delivered(lab, receiver, events, repeats=KILLS)


async def test_a_second_worker_joins_and_leaves(lab: Lab, receiver: Receiver) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start("webhook")
    for number in range(2):
        second = lab.start("webhook")
        lab.produce_events(events[half + number * (half // 2) : half + (number + 1) * (half // 2)])
        await asyncio.sleep(4)
        second.send_signal(signal.SIGKILL if number else signal.SIGTERM)
        second.wait(30)
    lab.produce_events(events[half + 2 * (half // 2) :])
    await everything_is_delivered(lab, receiver, events, repeats=2)
