"""``share_expired``: each expiry once, whoever is killed when, and never against an owner's newer word."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy
from confluent_kafka import Consumer, TopicPartition

from clients import outbox
from clients.faults import Unavailable
from clients.log_ends import LogEnds
from clients.outbox import OutboxRelay
from clients.periodic import JobBoard, every
from clients.postgres import Database
from clients.producer import EventProducer
from config.settings import ExpirySettings, PostgresSettings
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import expiry_event_id, new_share_token, share_id_for
from sinks.share_store import GROUP
from streams.shares.expiry import ExpirySweep, expire
from tests.lab import CODEC, Lab, event, event_of, eventually, open_lab

EXPIRED = int(os.environ.get("FAULT_EXPIRED", "10000"))
AT_ONCE = {"EXPIRY_EVERY_SECONDS": "0.2", "EXPIRY_GRACE_SECONDS": "0"}
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


def sweep_of(lab: Lab) -> ExpirySweep:
    return ExpirySweep(
        database=Database(PostgresSettings(dsn=lab.dsn)),
        codec=CODEC,
        ends=LogEnds(lab.kafka),
        topic=lab.kafka.events_topic,
        group=group(lab),
        settings=ExpirySettings(every_seconds=0.2, grace_seconds=0),
    )


async def due(connection: asyncpg.Connection | PoolConnectionProxy) -> list[UUID]:
    """The expired shares that nobody has announced."""
    rows = await connection.fetch("SELECT id FROM wishlist_shares WHERE expires_at <= now() AND expired_at IS NULL")
    return [row["id"] for row in rows]


async def shares(lab: Lab, count: int, expired: timedelta = timedelta(hours=1)) -> None:
    """Rows of *count* shares that expired so long ago, as the share store would have them."""
    tokens = [new_share_token() for _ in range(count)]
    await lab.pool.execute(
        """INSERT INTO wishlist_shares (id, wishlist_id, share_token, created_by, share_channel, created_at, expires_at)
           SELECT s.id, $3, s.token, $4, 'email', $5::timestamptz - interval '7 days', $5
           FROM unnest($1::uuid[], $2::text[]) AS s(id, token)""",
        [share_id_for(token) for token in tokens],
        tokens,
        key_of("wl_8a2b3c4d5e6f"),
        key_of("user_maya"),
        NOW - expired,
    )


def announced(lab: Lab) -> list[ShareEvent]:
    """Every ``share_expired`` that the topic holds, repeats included."""
    topic = lab.kafka.events_topic
    consumer = Consumer({"bootstrap.servers": lab.kafka.bootstrap_servers, "group.id": uuid4().hex})
    ends = lab.end_offsets()
    consumer.assign([TopicPartition(topic, number, 0) for number in ends])
    left, found = sum(ends.values()), []
    while left > 0:
        records = consumer.consume(min(left, 1_000), 10)
        assert records, "the topic could not be read to its end"
        left -= len(records)
        found += [event for event in map(event_of, records) if event.event_type is EventType.EXPIRED]
    consumer.close()
    return found


async def all_sent(lab: Lab, within: float = 120) -> None:
    async def sent() -> bool:
        open_shares, waiting = await lab.pool.fetchrow(
            """SELECT (SELECT count(*) FROM wishlist_shares
                       WHERE expires_at <= now() AND expired_at IS NULL AND NOT is_revoked),
                      (SELECT count(*) FROM event_outbox)"""
        )
        return not open_shares and not waiting

    await eventually(sent, within, "every expiry is on the topic")


async def expired_now(lab: Lab) -> int:
    async with lab.pool.acquire() as connection:
        return await expire(connection, CODEC, datetime.now(UTC), await due(connection))


async def test_each_expiry_once_by_two_workers_and_nothing_else(lab: Lab) -> None:
    past, ahead = NOW - timedelta(days=1), NOW + timedelta(days=1)
    over = [event(expires_at=past - timedelta(seconds=number)) for number in range(200)]
    open_still = [event(expires_at=ahead), event(expires_at=None)]
    moved = event(expires_at=past)
    later = event(EventType.SETTINGS_CHANGED, moved.share_token, expires_at=ahead, timestamp=NOW - timedelta(days=2))
    revoked = event(expires_at=past)
    words = [*over, *open_still, moved, later, revoked, event(EventType.REVOKED, revoked.share_token)]
    lab.produce_events(words)
    for _ in range(2):
        lab.start(**AT_ONCE)
    await lab.applied(group(lab))
    await all_sent(lab)
    await lab.applied(group(lab))
    found = announced(lab)
    assert Counter(one.share_id for one in found) == Counter(one.share_id for one in over)
    for one in found:
        assert one.expires_at is not None
        assert one.timestamp == one.expires_at
        assert one.event_id == expiry_event_id(one.share_id, one.expires_at)
    rows = await lab.pool.fetch("SELECT share_token, expired_at FROM wishlist_shares")
    at = {row["share_token"]: row["expired_at"] for row in rows}
    assert all(at[one.share_token] == one.expires_at for one in over)
    assert all(at[one.share_token] is None for one in (*open_still, moved, revoked))


async def test_a_store_that_is_filled_anew_comes_to_the_same(lab: Lab) -> None:
    past = NOW - timedelta(days=1)
    events = [event(expires_at=past, timestamp=past - timedelta(days=7)) for _ in range(20)]
    moved = event(expires_at=past, timestamp=past - timedelta(days=7))
    later = event(
        EventType.SETTINGS_CHANGED,
        moved.share_token,
        expires_at=NOW + timedelta(days=9),
        timestamp=past - timedelta(days=1),
    )
    lab.produce_events([*events, moved, later])
    worker = lab.start(**AT_ONCE)
    await lab.applied(group(lab))
    await all_sent(lab)
    await lab.applied(group(lab))
    before = await lab.checksums()
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    await lab.pool.execute("DELETE FROM wishlist_shares")
    await lab.pool.execute("DELETE FROM ledger")
    await lab.pool.execute("UPDATE watermarks SET next_offset = 0")
    # In small batches: the share that was moved stands under its old expiry for a while.
    lab.start(STREAM_MAX_POLL_RECORDS="1", STREAM_MAX_BATCH_EVENTS="1", **AT_ONCE)
    await lab.applied(group(lab))
    await all_sent(lab)
    assert await lab.checksums() == before
    assert len(announced(lab)) == len(events)


async def test_two_sweeps_at_once_share_the_work(lab: Lab) -> None:
    await shares(lab, 1_200)

    async def until_none() -> int:
        done = 0
        while expired := await expired_now(lab):
            done += expired
        return done

    assert sum(await asyncio.gather(until_none(), until_none())) == 1_200
    ids: list[UUID] = [row["event_id"] for row in await lab.pool.fetch("SELECT event_id FROM event_outbox")]
    assert len(ids) == len(set(ids)) == 1_200


async def test_a_kill_before_the_commit_leaves_neither_mark_nor_event(lab: Lab) -> None:
    await shares(lab, 3)
    connection = await asyncpg.connect(lab.dsn)
    transaction = connection.transaction()
    await transaction.start()
    assert await expire(connection, CODEC, datetime.now(UTC), await due(connection)) == 3
    assert await expired_now(lab) == 0, "they are being expired by somebody else"
    connection.terminate()

    async def free() -> bool:
        return await expired_now(lab) == 3

    await eventually(free, 10, "another sweep takes them")
    assert await lab.pool.fetchval("SELECT count(*) FROM event_outbox") == 3


async def test_killed_at_random_moments_after_a_day_of_downtime(lab: Lab) -> None:
    await shares(lab, EXPIRED, timedelta(days=1))
    kills, began = 0, time.monotonic()
    for number in range(3):
        sent_before = sum(lab.end_offsets().values())
        worker = lab.start(STREAM_INSTANCE_ID="worker-1", **AT_ONCE)

        async def sending(before: int = sent_before) -> bool:
            return sum(lab.end_offsets().values()) > before

        await eventually(sending, 60, "expiries are sent")
        await asyncio.sleep(0.1 * number)
        worker.kill()
        worker.wait()
        kills += 1
    last = time.monotonic()
    already = await lab.pool.fetchval("SELECT count(*) FROM wishlist_shares WHERE expired_at IS NOT NULL")
    lab.start(STREAM_INSTANCE_ID="worker-1", **AT_ONCE)
    await all_sent(lab, 280)
    took = time.monotonic() - last
    await lab.applied(group(lab))
    found = Counter(one.event_id for one in announced(lab))
    repeats = sum(found.values()) - len(found)
    print(
        f"\n{EXPIRED} expired shares, {kills} kills: {repeats} repeats on the topic, {already} were handed over before "
        f"the last start, {took:.1f} s from it to the last send, {last - began:.1f} s before it"
    )
    assert len(found) == EXPIRED
    # A kill repeats at most what was between the broker's word and the outbox's note of it.
    assert repeats <= 500 * kills
    assert await lab.pool.fetchval("SELECT count(*) FROM wishlist_shares WHERE expired_at = expires_at") == EXPIRED
    assert await lab.pool.fetchval("SELECT count(*) FROM ledger") == EXPIRED


async def test_whoever_has_the_row_first_decides(lab: Lab) -> None:
    await shares(lab, 1)
    owner = await asyncpg.connect(lab.dsn)
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute("UPDATE wishlist_shares SET expires_at = now() + interval '7 days'")
    assert await expired_now(lab) == 0, "the owner holds the row"
    await transaction.commit()
    await owner.close()
    assert await expired_now(lab) == 0
    assert await lab.pool.fetchval("SELECT expired_at IS NULL FROM wishlist_shares")


async def test_a_new_expiry_that_still_waits_in_the_outbox_is_heeded(lab: Lab) -> None:
    await shares(lab, 1)
    token = await lab.pool.fetchval("SELECT share_token FROM wishlist_shares")
    later = event(EventType.SETTINGS_CHANGED, token, expires_at=NOW + timedelta(days=7))
    await outbox.append(lab.pool, CODEC, later)
    assert await expired_now(lab) == 0


async def test_a_new_expiry_that_the_share_store_has_not_applied_is_heeded(lab: Lab) -> None:
    await shares(lab, 1)
    token = await lab.pool.fetchval("SELECT share_token FROM wishlist_shares")
    lab.produce_events([event(EventType.SETTINGS_CHANGED, token, expires_at=NOW + timedelta(days=7))])
    sweeping = asyncio.create_task(sweep_of(lab).sweep())
    done, _ = await asyncio.wait([sweeping], timeout=2)
    assert not done, "it waits for the share store"
    # This worker's own sweep comes long after: what is looked at is the one that waits.
    lab.start(EXPIRY_GRACE_SECONDS="86400")
    await lab.applied(group(lab))
    assert await sweeping == 0
    assert await lab.pool.fetchval("SELECT expired_at IS NULL FROM wishlist_shares")


async def test_the_outbox_keeps_a_shares_order_whatever_fails(lab: Lab) -> None:
    """The second event of a share is not sent before the first has been acknowledged."""

    class Flaky(EventProducer):
        """Loses every third record that it is given, once: the broker never hears of it."""

        given = 0

        async def send_bytes(self, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
            self.given += 1
            if self.given % 3 == 0:
                raise Unavailable("Kafka", "no acknowledgement in time")
            await super().send_bytes(key, value, event_type, within)

    tokens = [new_share_token() for _ in range(5)]
    said = [event(token=token) for token in tokens for _ in range(4)]
    await outbox.append(lab.pool, CODEC, *said)
    producer = Flaky(lab.kafka, CODEC)
    await producer.start()
    relay = asyncio.create_task(every(0.5, OutboxRelay(lab.pool, producer).round, name="relay", board=JobBoard()))

    async def empty() -> bool:
        return not await lab.pool.fetchval("SELECT count(*) FROM event_outbox")

    try:
        await eventually(empty, 60, "everything is sent")
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await producer.close()
    consumer = Consumer({"bootstrap.servers": lab.kafka.bootstrap_servers, "group.id": uuid4().hex})
    consumer.assign([TopicPartition(lab.kafka.events_topic, number, 0) for number in lab.end_offsets()])
    records = consumer.consume(len(said), 20)
    consumer.close()
    by_token: dict[str, list[UUID]] = {token: [] for token in tokens}
    for record in records:
        by_token[(record.key() or b"").decode()].append(event_of(record).event_id)
    assert by_token == {token: [one.event_id for one in said if one.share_token == token] for token in tokens}
