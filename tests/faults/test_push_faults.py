"""The push agent killed, joined, frozen, told everything twice: each addition is told once, repeats under one id."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.push import GROUP
from tests.lab import Lab, event, eventually
from tests.push_services import PushServices, device_token

OWNERS = int(os.environ.get("FAULT_OWNERS", "300"))
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture
async def services() -> AsyncIterator[PushServices]:
    services = PushServices()
    yield services
    await services.close()


@pytest.fixture
async def devices(lab: Lab) -> dict[UUID, str]:
    """Owners with a device each, every other one an iPhone."""
    lab.env |= {"PUSH_COLLAPSE_SECONDS": "0", "PUSH_CHECK_SECONDS": "0.1"}
    owners = {uuid4(): device_token("fcm" if number % 2 else "apns") for number in range(OWNERS)}
    await lab.pool.execute(
        """INSERT INTO users (id, public_id, display_name, quiet_start, quiet_end)
           SELECT id, id::text, 'Owner', NULL, NULL FROM unnest($1::uuid[]) AS id""",
        list(owners),
    )
    # One list each, under the owner's own id.
    await lab.pool.execute(
        """INSERT INTO wishlists (id, public_id, owner_id, title)
           SELECT id, 'wl_' || id, id, 'A list' FROM unnest($1::uuid[]) AS id""",
        list(owners),
    )
    await lab.pool.execute(
        """INSERT INTO devices (user_id, platform, token)
           SELECT id, CASE WHEN token ~ '^[0-9a-f]{64}$' THEN 'ios' ELSE 'android' END, token
           FROM unnest($1::uuid[], $2::text[]) AS of(id, token)""",
        list(owners),
        list(owners.values()),
    )
    return owners


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


def additions(devices: dict[UUID, str]) -> list[ShareEvent]:
    """One item of each owner's list is added."""
    return [
        event(EventType.ITEM_ADDED, new_share_token(), user_id=owner, wishlist_id=owner, wishlist_item_id=uuid4(),
              recipient_user_id=key_of("user_recipient"), product_id="prod_1a2b3c")
        for owner in devices
    ]  # fmt: skip


async def all_are_told(lab: Lab, services: PushServices, devices: dict[UUID, str]) -> int:
    """Wait until every device has its one notification; how many times one was sent again."""
    await lab.applied(group(lab), 240)
    left = """SELECT (SELECT count(*) FROM pushes WHERE state = 'due')
                   + (SELECT count(*) FROM push_deliveries WHERE state = 'due')"""

    async def done() -> bool:
        return not await lab.pool.fetchval(left)

    await eventually(done, 120, "nothing is due any more")
    assert await lab.pool.fetchval("SELECT sum(items) FROM pushes") == len(devices)
    ids = {str(row["id"]) for row in await lab.pool.fetch("SELECT id FROM push_deliveries WHERE state = 'taken'")}
    shown = [one for one in await services.received() if one["token"] in set(devices.values())]
    by_device: dict[str, set[str]] = {}
    for one in shown:
        by_device.setdefault(one["token"], set()).add(one["id"])
    assert set(by_device) == set(devices.values())
    assert all(len(of_device) == 1 and of_device <= ids for of_device in by_device.values())
    return len(shown) - len(by_device)


async def test_killed_at_random_moments_and_everything_sent_twice(
    lab: Lab, services: PushServices, devices: dict[UUID, str]
) -> None:
    events = additions(devices)
    part = len(events) // (KILLS + 1)
    dice = random.Random(4)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = Counter(one["token"] for one in await services.received()).total()
        worker = lab.start("push", STREAM_INSTANCE_ID="worker-1")

        async def sending(before: int = before) -> bool:
            return len(await services.received()) > before

        await eventually(sending, 60, "the worker sends something")
        await asyncio.sleep(dice.uniform(0, 0.2))
        worker.kill()
        worker.wait()
        # Nobody waits for a dead worker's lease.
        await lab.pool.execute("UPDATE push_deliveries SET lease_until = now() WHERE state = 'due'")
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start("push", STREAM_INSTANCE_ID="worker-1")
    repeats = await all_are_told(lab, services, devices)
    print(f"{OWNERS} devices, {KILLS} kills, {repeats} sent again under the same id")
    # Sent and not noted: what was under way when a worker died.
    assert repeats <= KILLS * 2 * 50


async def test_a_second_worker_joins_and_leaves_and_one_freezes(
    lab: Lab, services: PushServices, devices: dict[UUID, str]
) -> None:
    events = additions(devices)
    third = len(events) // 3
    first = lab.start("push")
    lab.produce_events(events[:third])
    second = lab.start("push")
    await asyncio.sleep(4)
    lab.produce_events(events[third : 2 * third])
    second.send_signal(signal.SIGTERM)
    second.wait(30)
    first.send_signal(signal.SIGSTOP)
    lab.start("push")
    lab.produce_events(events[2 * third :])
    await lab.applied(group(lab), 240)
    first.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    await all_are_told(lab, services, devices)
