"""The webhook agent killed, joined, told everything twice: its receiver hears of each event, of few again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import urllib.request
from collections.abc import Iterator

import pytest

from clients import webhooks
from notifications.webhook import is_told
from ops.seed import key_of
from schemas.event import ShareEvent
from sinks.webhook import GROUP
from tests.lab import Lab, eventually, free_port, story
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

    # One call after the other: the long form has 25 times as many as the short one.
    await eventually(settled, 120 + len(events) / 50, "nothing waits")
    expected = {str(event.event_id) for event in events if is_told(event)}
    assert await lab.pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'taken'") == len(expected)
    assert {call.body["data"]["event_id"] for call in receiver.calls} == expected
    ids = receiver.ids()
    assert len(set(ids)) == len(expected), "an event has one id"
    # On a busy machine a call can take longer than its second: it has failed then, and is said to have.
    failed = sum(log.read_text().count('"a webhook fails"') for log in lab.log_files)
    assert len(ids) - len(set(ids)) <= repeats + failed
    assert all(call.is_genuine for call in receiver.calls)
    assert receiver.most_at_once == 1


@pytest.mark.timeout(1_800)
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


@pytest.mark.timeout(1_800)
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


@pytest.mark.parametrize(("how", "calls"), [(signal.SIGKILL, 2), (signal.SIGTERM, 1)], ids=["killed", "stopped"])
async def test_a_worker_that_ends_in_mid_call(lab: Lab, receiver: Receiver, how: signal.Signals, calls: int) -> None:
    """Killed, its call is repeated once, under the same id, and that is counted; stopped, it is finished."""
    lab.env["WEBHOOK_TIMEOUT_SECONDS"] = "5"
    receiver.hold.clear()
    events = story(1)
    lab.produce_events(events)
    worker = lab.start("webhook", STREAM_INSTANCE_ID="worker-1")

    async def called() -> bool:
        return bool(receiver.calls)

    await eventually(called, 60, "the worker calls")
    worker.send_signal(how)
    if how is signal.SIGTERM:
        await asyncio.sleep(1)
    else:
        worker.wait()
    receiver.hold.set()
    worker.wait(30)
    port = free_port()
    lab.start("webhook", STREAM_INSTANCE_ID="worker-1", STREAM_METRICS_PORT=port)
    said = ""

    async def listening() -> bool:
        nonlocal said
        said = await asyncio.to_thread(_read, f"http://127.0.0.1:{port}/metrics")
        return bool(said)

    await eventually(listening, 60, "the next worker is up")
    await everything_is_delivered(lab, receiver, events, repeats=1)
    await listening()
    assert receiver.ids() == [receiver.calls[0].id] * calls
    assert ('wishlist_webhooks_total{outcome="taken_over"} 1.0' in said) is (calls == 2)


def _read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
