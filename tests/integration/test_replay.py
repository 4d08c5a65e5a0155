"""Replay: what is there stays, what was lost comes back, a store is built anew; by the operator's own command."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks import archive, share_store
from tests.lab import ROOT, Lab, event, eventually, expected_totals, open_lab, story

EVENTS = 2_000


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


def start(lab: Lab, *words: str) -> subprocess.Popen[str]:
    return lab.begin_wishlist("replay", *words)


async def run(lab: Lab, *words: str, code: int = 0) -> str:
    return await lab.wishlist("replay", *words, code=code)


async def as_json(lab: Lab, *words: str) -> dict[str, Any]:
    """What the command says to scripts: all of its standard output."""
    command = [sys.executable, "-m", "ops.cli", "replay", *words, "--json"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=lab.env, capture_output=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def group(lab: Lab) -> str:
    return share_store.GROUP + lab.env["STREAM_GROUP_SUFFIX"]


async def test_what_is_there_stays_as_it_is(lab: Lab) -> None:
    lab.produce_events(story(EVENTS))
    lab.start("persist")
    await lab.applied(group(lab))
    before, marks = await lab.checksums(), await lab.watermarks(group(lab))
    said = await run(lab, "persist", "--from", "earliest", "--yes")
    assert f"{EVENTS:,} records" in said
    assert await lab.checksums() == before
    assert await lab.watermarks(group(lab)) == marks, "the live group stands where it stood"
    assert not await lab.pool.fetchval("SELECT count(*) FROM watermarks WHERE consumer_group LIKE '%#%'")


async def test_what_was_lost_comes_back(lab: Lab) -> None:
    events = story(EVENTS)
    lab.produce_events(events)
    lab.start("persist")
    await lab.applied(group(lab))
    before = await lab.checksums()
    lost = events[0].share_token
    await lab.pool.execute("DELETE FROM wishlist_shares WHERE share_token = $1", lost)
    await lab.pool.execute("DELETE FROM share_visitors WHERE share_id = $1", events[0].share_id)
    await lab.pool.execute(
        "DELETE FROM ledger WHERE event_id = ANY($1::uuid[])", [e.event_id for e in events if e.share_token == lost]
    )
    await run(lab, "persist", "--yes", "--workers", "3")
    assert await lab.checksums() == before


async def test_a_store_built_anew_says_what_the_events_say(lab: Lab) -> None:
    events = story(EVENTS)
    item = event(
        EventType.ITEM_ADDED,
        events[0].share_token,
        wishlist_item_id=uuid4(),
        product_id="prod_1a2b3c",
        recipient_user_id=key_of("user_recipient"),
        recipient_wishlist_id=key_of("wl_recipient_001"),
    )
    lab.produce_events([*events, item])
    lab.start("persist")
    await lab.applied(group(lab))
    before = await lab.checksums()
    damaged, gone, strange = (events[n].share_token for n in (0, 1, 2))
    await lab.pool.execute("UPDATE wishlist_shares SET view_count = 77 WHERE share_token = $1", damaged)
    await lab.pool.execute("DELETE FROM wishlist_shares WHERE share_token = $1", gone)
    await lab.pool.execute(
        "UPDATE wishlist_shares SET id = gen_random_uuid(), share_token = $2 WHERE share_token = $1",
        strange, new_share_token(),
    )  # fmt: skip
    said = await run(lab, "persist", "--rebuild", "--yes")
    assert await lab.checksums() == before, said
    [row] = [line.split("│")[1:-1] for line in said.splitlines() if "wishlist_shares" in line]
    assert [cell.strip() for cell in row] == ["wishlist_shares", "2", "1", "1"]
    assert not await lab.pool.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rebuild%'")


async def test_the_live_agent_goes_on_while_its_store_is_built_anew(lab: Lab) -> None:
    events = story(2 * EVENTS)
    lab.produce_events(events[:EVENTS])
    lab.start("persist")
    await lab.applied(group(lab))
    rebuild = start(lab, "persist", "--rebuild", "--yes", "--rate", "1000")
    for begin in range(EVENTS, 2 * EVENTS, 200):
        lab.produce_events(events[begin : begin + 200])
        await asyncio.sleep(0.2)
    said, _ = await asyncio.to_thread(rebuild.communicate, timeout=120)
    assert rebuild.returncode == 0, said
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(events)
    await run(lab, "persist", "--yes")
    assert await lab.totals() == expected_totals(events)


async def test_killed_and_resumed(lab: Lab) -> None:
    events = story(EVENTS)
    lab.produce_events(events)
    lab.start("persist")
    await lab.applied(group(lab))
    killed = start(lab, "persist", "--yes", "--rate", "400")

    async def under_way() -> bool:
        lane = "SELECT coalesce(sum(next_offset), 0) FROM watermarks WHERE consumer_group LIKE '%#persist-%'"
        return 0 < await lab.pool.fetchval(lane) < EVENTS

    await eventually(under_way, 60, "the replay is under way")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said = await run(lab, "persist", "--resume", "--yes", "--workers", "2")
    assert "persist-" in said
    assert await lab.totals() == expected_totals(events)
    await run(lab, "persist", "--resume", "--yes", code=2)


async def test_ctrl_c_names_the_way_on(lab: Lab) -> None:
    lab.produce_events(story(EVENTS))
    lab.start("persist")
    await lab.applied(group(lab))
    refused = await run(lab, "persist", code=2)
    assert "--yes: nobody can be asked here" in refused, "no terminal"
    planned = await as_json(lab, "persist", "--dry-run")
    assert planned["status"] == "planned" and planned["records"] == EVENTS
    assert sum(planned["topics"].values()) == EVENTS
    ended = start(lab, "persist", "--yes", "--rate", "400")

    async def under_way() -> bool:
        lane = "SELECT coalesce(sum(next_offset), 0) FROM watermarks WHERE consumer_group LIKE '%#persist-%'"
        return 0 < await lab.pool.fetchval(lane) < EVENTS

    await eventually(under_way, 60, "the replay is under way")
    ended.send_signal(signal.SIGINT)
    said, _ = await asyncio.to_thread(ended.communicate, timeout=60)
    assert ended.returncode == 130, said
    assert "wishlist replay persist --resume goes on with it" in " ".join(said.split())
    assert "Traceback" not in said
    done = await run(lab, "persist", "--resume", "--yes")
    assert f"{EVENTS}/{EVENTS}" in done, "the bar ends at its end"
    assert f"{EVENTS:,} records in" in done
    assert "refused" not in done


async def test_what_is_aside_is_not_put_aside_again(lab: Lab) -> None:
    lab.produce([("poison", b"\x00\x00\x00\x00\x09not a schema")])
    lab.produce_events([event()])
    lab.start("persist")
    lab.start("dead_letters")
    await lab.applied(group(lab))

    async def kept() -> bool:
        return bool(await lab.pool.fetchval("SELECT count(*) FROM dead_letters"))

    await eventually(kept, 60, "the letter is kept")
    assert "1 of the records was refused" in await run(lab, "persist", "--yes")
    assert (await as_json(lab, "persist", "--yes"))["refused"] == 1
    assert lab.end_offsets(lab.kafka.dlq_topic) and sum(lab.end_offsets(lab.kafka.dlq_topic).values()) == 1


async def forget(lab: Lab) -> None:
    """Have the topic forget all that it holds."""
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
    ends = [TopicPartition(lab.kafka.events_topic, number, end) for number, end in lab.end_offsets().items() if end]
    for answer in admin.delete_records(ends).values():
        answer.result(30)


async def archived(lab: Lab, events: list[ShareEvent]) -> None:
    """Let both agents apply *events*, and the topic forget them."""
    lab.env |= {"ARCHIVE_BATCH_SECONDS": "1", "ARCHIVE_PREFIX": f"archive-{uuid4().hex}/"}
    lab.produce_events(events)
    lab.start("persist")
    lab.start("archive")
    await lab.applied(group(lab))
    await lab.applied(archive.GROUP + lab.env["STREAM_GROUP_SUFFIX"])
    await forget(lab)


async def test_what_the_topic_has_forgotten_comes_from_the_archive(lab: Lab) -> None:
    events = story(EVENTS)
    await archived(lab, events)
    before = await lab.checksums()
    lost = events[0].share_token
    await lab.pool.execute("DELETE FROM wishlist_shares WHERE share_token = $1", lost)
    await lab.pool.execute("DELETE FROM share_visitors WHERE share_id = $1", events[0].share_id)
    await lab.pool.execute(
        "DELETE FROM ledger WHERE event_id = ANY($1::uuid[])", [e.event_id for e in events if e.share_token == lost]
    )
    said = await run(lab, "persist", "--yes")
    assert "the archive" in said and f"{EVENTS:,} records" in said
    assert await lab.checksums() == before
    marks = await lab.pool.fetchval("SELECT count(*) FROM watermarks WHERE consumer_group LIKE '%#%'")
    assert marks == 0


async def test_a_store_is_built_anew_from_archive_and_topic(lab: Lab) -> None:
    events = story(2 * EVENTS)
    await archived(lab, events[:EVENTS])
    lab.produce_events(events[EVENTS:])
    await lab.applied(group(lab))
    before = await lab.checksums()
    await lab.pool.execute("UPDATE wishlist_shares SET view_count = view_count + 1")
    await run(lab, "persist", "--rebuild", "--yes")
    assert await lab.checksums() == before


async def test_nothing_is_built_anew_from_less_than_all(lab: Lab) -> None:
    lab.produce_events(story(EVENTS))
    lab.start("persist")
    await lab.applied(group(lab))
    await forget(lab)
    before = await lab.checksums()
    said = await run(lab, "persist", "--rebuild", "--yes", code=2)
    assert "archive" in said
    assert await lab.checksums() == before


async def test_from_a_moment_and_from_offsets(lab: Lab) -> None:
    token = new_share_token()
    lab.produce_events(event(EventType.VIEWED, token) for _ in range(5))
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC)
    lab.produce_events(event(EventType.VIEWED, token) for _ in range(3))
    assert "3 records" in await run(lab, "persist", "--from", moment.isoformat(), "--dry-run")
    [partition] = [number for number, end in lab.end_offsets().items() if end]
    assert "2 records" in await run(lab, "persist", "--from", f"{partition}:6", "--dry-run")
    assert "8 records" in await run(lab, "persist", "--dry-run")


@pytest.mark.parametrize("sink", ["push", "digest", "preview"])
async def test_nobody_is_told_twice_unless_that_is_wanted(lab: Lab, sink: str) -> None:
    lab.produce_events([event()])
    assert "--again" in await run(lab, sink, "--yes", code=2)
    await run(lab, sink, "--again", "--yes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["posterity"], "SINK"),
        (["persist", "--from", "yesterday"], "--from"),
        (["digest", "--again", "--rebuild"], "--rebuild"),
        (["persist", "--rebuild", "--from", "2026-01-01"], "--rebuild"),
        (["persist", "--rate", "0"], "--rate"),
        (["persist", "--workers", "0"], "--workers"),
    ],
)
async def test_what_makes_no_sense_is_refused(lab: Lab, words: list[str], said: str) -> None:
    assert said in await run(lab, *words, code=2)
