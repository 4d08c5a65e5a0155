"""Kills, rebalances, duplicates and poison: every event once in PostgreSQL, or in the DLQ."""

from __future__ import annotations

import asyncio
import os
import random
import signal

from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.share_store import GROUP
from tests.lab import CODEC, Lab, event, eventually, expected_totals, story

EVENTS = int(os.environ.get("FAULT_EVENTS", "20000"))
KILLS = int(os.environ.get("FAULT_KILLS", "5"))
JOINS = int(os.environ.get("FAULT_JOINS", "3"))


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def kafka_never_ahead(lab: Lab) -> None:
    committed = lab.committed(group(lab))
    marks = await lab.watermarks(group(lab))
    assert all(offset <= marks.get(number, 0) for number, offset in committed.items()), (committed, marks)


async def test_killed_at_random_moments(lab: Lab) -> None:
    events = story(EVENTS)
    share = len(events) // (KILLS + 1)
    dice = random.Random(7)
    for number in range(KILLS):
        # Each worker is given events of its own in small batches: however fast it is, it dies with work to do.
        lab.produce_events(events[number * share : (number + 1) * share])
        before = sum((await lab.watermarks(group(lab))).values())
        worker = lab.start(STREAM_INSTANCE_ID="worker-1", STREAM_MAX_POLL_RECORDS="100")

        async def moving(before: int = before) -> bool:
            return sum((await lab.watermarks(group(lab))).values()) > before

        await eventually(moving, 60, "the worker applies something")
        await asyncio.sleep(dice.uniform(0, 0.1))
        worker.kill()
        worker.wait()
        await kafka_never_ahead(lab)
    lab.produce_events(events[KILLS * share :])
    lab.start(STREAM_INSTANCE_ID="worker-1")
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(events)

    async def told() -> bool:
        return lab.committed(group(lab)) == await lab.watermarks(group(lab))

    # The last worker may have nothing left to apply, and still be starting when its predecessor's work is complete.
    await eventually(told, 60, "Kafka is told what the sink has")


async def test_a_second_worker_joins_and_leaves(lab: Lab) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    lab.produce_events(events[:half])
    lab.start()
    chunk = max(1, half // JOINS)
    for number in range(JOINS):
        second = lab.start()
        lab.produce_events(events[half + number * chunk : half + (number + 1) * chunk])
        await asyncio.sleep(4)
        second.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
        second.wait(30)
    lab.produce_events(events[half + JOINS * chunk :])
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(events)
    await kafka_never_ahead(lab)


async def test_a_frozen_worker_writes_nothing_when_it_wakes(lab: Lab) -> None:
    events = story(EVENTS)
    half = len(events) // 2
    frozen = lab.start()
    lab.produce_events(events[:half])

    async def moving() -> bool:
        return sum((await lab.watermarks(group(lab))).values()) > 0

    await eventually(moving, 60, "the first worker applies something")
    frozen.send_signal(signal.SIGSTOP)
    lab.start()
    lab.produce_events(events[half:])
    await lab.applied(group(lab))
    frozen.send_signal(signal.SIGCONT)
    await asyncio.sleep(3)
    assert await lab.totals() == expected_totals(events)


async def test_everything_twice_and_again_from_the_start(lab: Lab) -> None:
    events = story(EVENTS // 4)
    lab.produce_events(events)
    worker = lab.start()
    await lab.applied(group(lab))
    before = await lab.checksums()
    lab.produce_events(events)
    await lab.applied(group(lab))
    assert await lab.checksums() == before
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    await lab.pool.execute("UPDATE watermarks SET next_offset = 0")
    lab.start()
    await lab.applied(group(lab))
    assert await lab.checksums() == before
    assert await lab.totals() == expected_totals(events)


def poison(token: str) -> dict[str, bytes]:
    good = CODEC.encode(event(token=token))
    clash = event(token=token, share_id=event().share_id)  # the token's UNIQUE constraint cannot hold
    return {
        "truncated": good[:-5],
        "unknown schema id": b"\0\0\0\0\x63" + good[5:],
        "wrong types": good[:5] + b"\x02\x02\x02\x02",
        "5 MB": good + b"\0" * 5_000_000,
        "constraint": CODEC.encode(clash),
        "NUL": CODEC.encode(event(message="a\0b")),
    }


async def test_poison_in_the_midst_of_good_events(lab: Lab) -> None:
    token = new_share_token()
    good: list[ShareEvent] = [event(token=token)]
    values = [(token, CODEC.encode(good[0]))]
    bad = poison(token)
    for value in bad.values():
        values.append((token, value))
        view = event(EventType.VIEWED, token, visitor_hash="v", page_view_id=event().event_id)
        good.append(view)
        values.append((token, CODEC.encode(view)))
    lab.produce(values)
    lab.start()
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(good)
    letters = lab.dead_letters(len(bad))
    assert sorted(len(value or b"") for _, value in letters) == sorted(len(value) for value in bad.values())
    for headers, value in letters:
        assert value in bad.values()
        assert headers["group"] == group(lab)
        assert headers["original_topic"] == lab.kafka.events_topic
        assert int(headers["original_offset"]) > 0
        assert headers["error_class"] in {"MalformedEvent", "Reject"}
        assert headers["error_message"]
        assert {"traceback", "attempts", "first_failure", "last_failure", "redrive_count", "original_timestamp",
                "original_partition"} <= headers.keys()  # fmt: skip


async def test_poison_alone(lab: Lab) -> None:
    lab.start()
    token = new_share_token()
    lab.produce([(token, b"not an event")])
    await lab.applied(group(lab))
    [(headers, value)] = lab.dead_letters(1)
    assert value == b"not an event"
    assert "magic byte" in headers["error_message"]
    lab.produce_events([event(token=token)])
    await lab.applied(group(lab))
    assert (await lab.totals())["shares"] == 1
