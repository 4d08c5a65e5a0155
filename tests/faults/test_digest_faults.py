"""The digest agent killed, joined, told everything twice, its days closed meanwhile: each view is told once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter

import orjson
import pytest

from clients.queue import NotificationQueue
from config.settings import QueueSettings
from schemas.event import ShareEvent
from sinks.digest import GROUP, is_told
from tests.lab import Lab, eventually, free_port, health, story
from tests.notification_hub import take_all
from tests.service_proxy import open_proxy

EVENTS = int(os.environ.get("FAULT_EVENTS", "4000"))
KILLS = int(os.environ.get("FAULT_KILLS", "4"))


@pytest.fixture(autouse=True)
def settings(lab: Lab) -> None:
    lab.env |= {"DIGEST_CHECK_SECONDS": "0.2", "SQS_QUEUE": f"faults-{lab.kafka.events_topic.split('.')[0]}.fifo"}


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def close_days(lab: Lab) -> None:
    """Have the day of whoever waits close now: their clocks are where it is past nine, on a new date each time."""
    await lab.pool.execute("UPDATE users SET time_zone = 'Etc/GMT-14' WHERE extract(hour FROM now()) >= 19")
    await lab.pool.execute("UPDATE users SET time_zone = 'Etc/GMT+' || (extract(hour FROM now()) - 9)::int "
                           "WHERE extract(hour FROM now()) BETWEEN 10 AND 18")  # fmt: skip
    await lab.pool.execute("UPDATE users SET time_zone = 'Etc/GMT-' || (10 - extract(hour FROM now()))::int "
                           "WHERE extract(hour FROM now()) < 10")  # fmt: skip
    # Each close has years of its own.
    await lab.pool.execute(
        """UPDATE digests SET id = gen_random_uuid(),
                              local_date = local_date - 400 * (SELECT count(*) FROM digests)::int
           WHERE local_date > current_date - 300"""
    )
    await lab.pool.execute("UPDATE digest_owners SET due_at = now(), last_day = NULL WHERE is_pending")


async def every_view_is_told_once(lab: Lab, events: list[ShareEvent]) -> None:
    await lab.applied(group(lab), 240)
    waiting = await lab.pool.fetchval("SELECT coalesce(sum(views), 0) FROM digest_counts")
    rows = await lab.pool.fetch("SELECT content FROM digests")
    told = sum(orjson.loads(row["content"])["totals"]["views"] for row in rows)
    assert waiting + told == len({event.event_id for event in events if is_told(event)})


async def test_killed_at_random_moments_and_everything_sent_twice(lab: Lab) -> None:
    events = story(EVENTS)
    part = len(events) // (KILLS + 1)
    dice = random.Random(3)
    for number in range(KILLS):
        lab.produce_events(events[number * part : (number + 1) * part])
        before = sum((await lab.watermarks(group(lab))).values())
        worker = lab.start("digest", STREAM_INSTANCE_ID="worker-1", STREAM_MAX_POLL_RECORDS="50")

        async def moving(before: int = before) -> bool:
            return sum((await lab.watermarks(group(lab))).values()) > before

        await eventually(moving, 60, "the worker applies something")
        await close_days(lab)
        await asyncio.sleep(dice.uniform(0, 0.3))
        worker.kill()
        worker.wait()
    lab.produce_events(events[KILLS * part :])
    lab.produce_events(events)
    lab.start("digest", STREAM_INSTANCE_ID="worker-1")
    await every_view_is_told_once(lab, events)
    assert await lab.pool.fetchval("SELECT count(*) FROM digests") > 0


async def test_a_second_worker_joins_and_leaves(lab: Lab) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start("digest")
    for number in range(2):
        second = lab.start("digest")
        lab.produce_events(events[half + number * (half // 2) : half + (number + 1) * (half // 2)])
        await asyncio.sleep(4)
        await close_days(lab)
        second.send_signal(signal.SIGKILL if number else signal.SIGTERM)
        second.wait(30)
    lab.produce_events(events[half + 2 * (half // 2) :])
    await every_view_is_told_once(lab, events)


@pytest.mark.parametrize("queue", [".fifo", ""], ids=["fifo", "standard"])
async def test_killed_between_sending_and_noting(lab: Lab, queue: str) -> None:
    lab.env["SQS_QUEUE"] = f"{lab.env['SQS_QUEUE'].removesuffix('.fifo')}{queue}"
    settings = QueueSettings(queue=lab.env["SQS_QUEUE"])
    await NotificationQueue(settings).ensure()
    async with open_proxy(str(settings.endpoint_url)) as proxy:
        proxy.muffled = lambda request: request.headers.get("x-amz-target", "").endswith("SendMessageBatch")
        lab.produce_events(story(EVENTS))
        for number in range(KILLS):
            worker = lab.start("digest", STREAM_INSTANCE_ID="worker-1", SQS_ENDPOINT_URL=proxy.url)
            if number == 0:
                await lab.applied(group(lab), 240)
                await close_days(lab)
            await asyncio.wait_for(proxy.muffled_one.wait(), 60)
            worker.kill()
            worker.wait()
            proxy.muffled_one.clear()
            # Nobody waits for a dead worker's lease.
            await lab.pool.execute("UPDATE digests SET lease_until = now(), due_at = now() WHERE state = 'due'")
    lab.start("digest", STREAM_INSTANCE_ID="worker-1")

    async def all_sent() -> bool:
        return not await lab.pool.fetchval("SELECT count(*) FROM digests WHERE state = 'due'")

    await eventually(all_sent, 60, "every digest is noted as sent")
    digests = {str(row["id"]) for row in await lab.pool.fetch("SELECT id FROM digests")}
    received = Counter(one["notification_id"] for one in await asyncio.to_thread(take_all, settings))
    print(f"{len(digests)} digests, {KILLS} kills, {received.total() - len(received)} arrived again")
    assert digests and set(received) == digests
    assert all(times <= (1 if queue else 1 + KILLS) for times in received.values())


async def test_rows_that_can_never_be_sent_are_parked_and_the_agent_stays_up_also_across_a_kill(lab: Lab) -> None:
    good: dict[str, object] = {
        "date": "2020-01-02", "user_id": "user_maya", "name": "Maya C.", "locale": "en", "time_zone": "UTC",
        "totals": {"views": 1, "people": 1, "items_added": 0}, "day_before": None, "countries": [], "channels": [],
        "shares": [], "more_shares": 0,
    }  # fmt: skip
    await lab.pool.execute(
        """INSERT INTO digests (id, owner_id, local_date, content, due_at)
           SELECT gen_random_uuid(), u.id, d.day::date, d.content::jsonb, now() - interval '1 day'
           FROM users u, (VALUES ('2020-01-01', '{}'), ('2020-01-02', $1)) AS d(day, content)""",
        orjson.dumps(good).decode(),
    )
    owners = await lab.pool.fetchval("SELECT count(*) FROM users")
    await NotificationQueue(QueueSettings(queue=lab.env["SQS_QUEUE"])).ensure()
    port = free_port()
    worker = lab.start("digest", STREAM_METRICS_PORT=port)

    async def failed_once() -> bool:
        return bool(await lab.pool.fetchval("SELECT bool_or(failures >= 2) FROM digests"))

    await eventually(failed_once, 60, "bad rows were tried")
    worker.kill()
    worker.wait()
    worker = lab.start("digest", STREAM_METRICS_PORT=port)

    async def settled() -> bool:
        # Nobody waits for pauses, nor for the leases of the dead.
        await lab.pool.execute("UPDATE digests SET due_at = now(), lease_until = NULL WHERE state = 'due'")
        rows = await lab.pool.fetch("SELECT state, count(*) FROM digests GROUP BY 1")
        return {row["state"]: row["count"] for row in rows} == {"parked": owners, "sent": owners}

    await eventually(settled, 60, "the bad ones are parked, the others sent")
    assert worker.poll() is None

    async def well() -> bool:
        return (await asyncio.to_thread(health, port, "healthz"))[:2] == (200, "healthy")

    await eventually(well, 60, "the worker says that it is well")
    reasons = {row["reason"] for row in await lab.pool.fetch("SELECT reason FROM digests WHERE state = 'parked'")}
    assert reasons == {"KeyError: 'user_id'"}
