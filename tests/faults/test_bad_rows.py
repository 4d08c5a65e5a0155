"""Rows that can never be done, one for each kind of exception, among good ones: for every outbox and periodic job.

The good rows are done, the bad ones are parked with their reason after five attempts, and once the cause is mended
an operator's redrive lets each of them take effect once.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

import clients.outbox_rows
from clients import outbox, webhooks
from clients.faults import Unavailable
from clients.outbox import EVENTS
from clients.outbox_rows import MOST_FAILURES, OutboxTable, Outcome
from clients.postgres import Database
from config.settings import PostgresSettings, WebhookSettings
from ops.dead_letters import audit, row_changes
from ops.dead_letters.rows import parked
from schemas.codec import Origin
from schemas.ids import new_share_token
from streams import outboxes
from tests.agent_jobs import JOBS, MAYA, NINE, SITE, Job, World, open_world
from tests.lab import CODEC, Lab, event
from tests.trap import Trap

ROWS = int(os.environ.get("FAULT_BAD_ROWS_AMONG", "40"))
MOST_ROUNDS = 100 + 10 * ROWS


def bad_ones() -> list[Exception]:
    """One exception of each kind that has ended an agent or a batch somewhere."""
    return [
        ValueError("no such value"),
        TypeError("not a string"),
        KeyError("missing"),
        struct.error("unpack requires a buffer of 2 bytes"),
        OverflowError("date value out of range"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        RecursionError("maximum recursion depth exceeded"),
        asyncpg.CheckViolationError("new row violates check constraint"),
        asyncpg.DataError("invalid input\0 for query argument"),
        ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("inner")]),
        AssertionError(),
        EOFError("the stream ended"),
    ]


@dataclass
class Spoiler:
    """Makes the work of the first rows that it sees fail for ever, each with another exception."""

    left: list[Exception] = field(default_factory=bad_ones)
    bad: dict[str, Exception] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    is_mended: bool = False

    def check(self, ids: Sequence[str]) -> None:
        """Raise where one of the rows *ids* is bad."""
        for id in ids:
            if id not in self.seen and self.left and len(self.seen) % 3 == 1:
                self.bad[id] = self.left.pop()
            self.seen.add(id)
        spoilt = [id for id in ids if id in self.bad and not self.is_mended]
        if spoilt:
            # An attempt of a batch is no attempt of a row: only the row that stands alone is counted.
            self.attempts.update(ids if len(ids) == 1 else [])
            raise self.bad[spoilt[0]]

    async def attempt(self, rows: Sequence[Any], handle: Callable[[Sequence[Any]], Awaitable[Any]]) -> list[Outcome]:
        """In the place of :func:`clients.outbox_rows.attempt`."""

        async def spoilt(some: Sequence[Any]) -> Any:
            self.check([row if isinstance(row, str) else str(row["id"]) for row in some])
            return await handle(some)

        return await ATTEMPT(rows, spoilt)


ATTEMPT = clients.outbox_rows.attempt


@dataclass(frozen=True)
class Case:
    """A job with a way to give it many rows at once; *rows* may be fewer where each costs a picture."""

    name: str
    table: OutboxTable
    fill: Callable[[World, int], Awaitable[object]]
    rows: int = ROWS

    @property
    def job(self) -> Job:
        """Its round, and what it has done."""
        return next(job for job in JOBS if job.name == self.name)


_USERS = """INSERT INTO users (id, public_id, display_name, time_zone, quiet_start, quiet_end)
            SELECT md5('bad' || n)::uuid, 'bad_' || n, 'Owner', 'UTC', NULL, NULL FROM generate_series(1, $1::int) n"""


async def _days(world: World, rows: int) -> None:
    pool = world.lab.pool
    await pool.execute(_USERS, rows)
    await pool.execute(
        """INSERT INTO digest_counts
           SELECT md5('bad' || n)::uuid, gen_random_uuid(), 'US', 'email', 1, 0 FROM generate_series(1, $1::int) n""",
        rows,
    )
    await pool.execute(
        """INSERT INTO digest_owners (owner_id, is_pending, due_at)
           SELECT md5('bad' || n)::uuid, true, $2 FROM generate_series(1, $1::int) n""",
        rows,
        NINE,
    )


async def _digests(world: World, rows: int) -> None:
    await JOBS[1].prepare(world, 1)
    await world.lab.pool.execute(_USERS, rows - 1)
    await world.lab.pool.execute(
        """INSERT INTO digests (id, owner_id, local_date, content, due_at)
           SELECT gen_random_uuid(), md5('bad' || n)::uuid, d.local_date, d.content, now() - interval '1 hour'
           FROM digests d, generate_series(1, $1::int) n""",
        rows - 1,
    )
    await world.lab.pool.execute("UPDATE digests SET due_at = now() - interval '1 hour'")


async def _pushes(world: World, rows: int) -> None:
    await world.lab.pool.execute(
        """INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at)
           SELECT $1, gen_random_uuid(), 1, now(), now() - interval '1 minute' FROM generate_series(1, $2::int)""",
        MAYA,
        rows,
    )


async def _deliveries(world: World, rows: int) -> None:
    await _pushes(world, rows)
    await world.lab.pool.execute(
        """WITH told AS (UPDATE pushes SET state = 'told' RETURNING id)
           INSERT INTO push_deliveries (push_id, device_id, due_at) SELECT told.id, d.id, now() FROM told, devices d"""
    )


async def _calls(world: World, rows: int, ago: timedelta = timedelta(0)) -> None:
    pool = world.lab.pool
    await pool.execute(_USERS, 8)
    for row in await pool.fetch("SELECT id FROM users WHERE public_id LIKE 'bad!_%' ESCAPE '!'"):
        await pool.execute(webhooks.SET, row["id"], f"{SITE}/hook", webhooks.new_secret(), False)
    await pool.execute(
        """INSERT INTO webhook_deliveries (id, webhook_id, body, happened_at, due_at)
           SELECT gen_random_uuid(), w.id, '{}', now() - $2::interval, now() - interval '1 minute'
           FROM (SELECT id, row_number() OVER () AS n FROM webhooks) w JOIN generate_series(1, $1::int) r
             ON r % 8 + 1 = w.n""",
        rows,
        ago,
    )


async def _late_calls(world: World, rows: int) -> None:
    await _calls(world, rows, timedelta(seconds=WebhookSettings().give_up_seconds + 3_600))


async def _shares(world: World, rows: int, **columns: object) -> None:
    tokens = [new_share_token() for _ in range(rows)]
    await world.lab.pool.execute(
        """INSERT INTO wishlist_shares (id, wishlist_id, share_token, created_by, share_channel, created_at, expires_at)
           SELECT gen_random_uuid(), w.id, token, w.owner_id, 'email', $3, $4
           FROM unnest($1::text[]) AS token, wishlists w WHERE w.public_id = $2""",
        tokens,
        "wl_8a2b3c4d5e6f",
        columns.get("created_at", datetime.now(UTC)),
        columns.get("expires_at"),
    )


async def _expired(world: World, rows: int) -> None:
    await _shares(world, rows, expires_at=datetime.now(UTC) - timedelta(minutes=1))


async def _previews(world: World, rows: int, state: str = "due", **columns: object) -> None:
    await _shares(world, rows, **columns)
    await world.lab.pool.execute(
        """INSERT INTO previews (share_id, share_token, wishlist_id, state, due_at)
           SELECT id, share_token, wishlist_id, $1, now() FROM wishlist_shares ON CONFLICT DO NOTHING""",
        state,
    )


async def _withdrawn(world: World, rows: int) -> None:
    await _previews(world, rows, "withdrawn")


async def _unviewed(world: World, rows: int) -> None:
    await _previews(world, rows, "done", created_at=datetime.now(UTC) - timedelta(days=60))


async def _ended(world: World, rows: int) -> None:
    world.made += [new_share_token() for _ in range(rows)]
    await world.lab.pool.execute(
        """INSERT INTO ended_lists (wishlist_id, share_tokens)
           SELECT gen_random_uuid(), ARRAY[token] FROM unnest($1::text[]) AS token""",
        world.made,
    )


async def _files(world: World, rows: int) -> None:
    for number in range(rows):
        await next(job for job in JOBS if job.name == "unlisted files removed").prepare(world, number)


async def _events(world: World, rows: int) -> None:
    events = [event() for _ in range(rows)]
    await outbox.append(world.lab.pool, CODEC, *events)


CASES = (
    Case("digests closed", outboxes.DIGEST_DAYS, _days),
    Case("digests sent", outboxes.DIGESTS, _digests),
    Case("pushes announced", outboxes.PUSHES, _pushes),
    Case("pushes sent", outboxes.PUSH_DELIVERIES, _deliveries),
    Case("webhooks called", outboxes.WEBHOOK_DELIVERIES, _calls),
    Case("late calls given up", outboxes.LATE_CALLS, _late_calls),
    Case("expiries announced", outboxes.EXPIRIES, _expired),
    Case("the outbox sent", EVENTS, _events),
    Case("previews rendered", outboxes.PREVIEWS, _previews),
    Case("cards drawn without a browser", outboxes.FALLBACK_CARDS, _previews, rows=40),
    Case("pictures removed", outboxes.PICTURE_REMOVALS, _withdrawn),
    Case("pictures given up", outboxes.PICTURE_SWEEP, _unviewed),
    Case("deleted lists' links ended", outboxes.ENDED_LISTS, _ended),
    Case("unlisted files removed", outboxes.ARCHIVE_SWEEP, _files),
)


def test_every_outbox_and_job_is_tried() -> None:
    """The rows of reference tables need a warehouse: tests/integration/test_reference_tables.py spoils one of them."""
    assert {case.table.name for case in CASES} == {table.name for table in outboxes.ALL} - {"reference_rows"}
    assert {case.name for case in CASES} == {job.name for job in JOBS if not job.needs_warehouse}


@pytest.fixture
async def world(lab: Lab, trap: Trap) -> AsyncIterator[World]:
    async with open_world(lab, trap) as world:
        yield world


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bad_rows_are_parked_and_good_ones_done(
    world: World, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    spoiler = Spoiler()
    for module in ("streams.outbox.worker", "streams.outbox.job_rows"):
        monkeypatch.setattr(f"{module}.attempt", spoiler.attempt)
    if case.table is EVENTS:
        monkeypatch.setattr(World, "send_bytes", spoilt_sending(spoiler))
    await case.fill(world, case.rows)
    before = await pending(world, case)
    assert before == case.rows

    await work_off(world, case)
    rows = await failures(world, case)
    assert len(rows) == len(spoiler.bad) == len(bad_ones())
    assert {row["failures"] for row in rows} == {MOST_FAILURES}
    reasons = sorted(row["reason"].partition(":")[0].partition(" ")[0] for row in rows)
    assert reasons == sorted(type(error).__name__ for error in spoiler.bad.values())
    assert all("in check" in row["traceback"] for row in rows)
    assert set(spoiler.attempts) == set(spoiler.bad)
    assert set(spoiler.attempts.values()) == {MOST_FAILURES}, "alone, from its second attempt on"
    assert await pending(world, case) == 0

    spoiler.is_mended = True
    connection = await asyncpg.connect(world.lab.dsn)
    found = [row for row in await parked(connection) if row.id.outbox == case.table.name]
    act = await audit.begin(connection, "redrive", "test", "redrive --all", len(found))
    done, refused = await row_changes.redrive(connection, act, found)
    assert (len(done), refused) == (len(bad_ones()), {})
    await connection.close()
    await work_off(world, case)
    assert await failures(world, case) == []
    assert await pending(world, case) == 0
    assert set(spoiler.seen) >= set(spoiler.bad)
    if case.job.tells and case.table is not EVENTS:
        assert set(world.told.values()) == {1}, "each took effect once"
        assert len(world.told) == case.rows


def spoilt_sending(spoiler: Spoiler) -> Any:
    async def send_bytes(self: World, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
        sent = CODEC.decode(value, Origin("events", 0, 0, 0))
        spoiler.check([str(sent.event_id)])
        self.told.update([str(sent.event_id)])

    return send_bytes


async def work_off(world: World, case: Case) -> None:
    """Let the job have round after round until nothing waits; pauses are over between them."""
    job, database = case.job, Database(PostgresSettings(dsn=world.lab.dsn))
    for _ in range(MOST_ROUNDS):
        with suppress(Unavailable):
            await job.round(world, database, 0)
        if await pending(world, case) == 0:
            break
        for statement in (*job.later, "UPDATE job_rows SET due_at = now()", "UPDATE event_outbox SET due_at = now()"):
            await world.lab.pool.execute(statement)
    await (await database.pool()).close()


_WAITING = {
    "late_calls": "SELECT count(*) FROM webhook_deliveries d WHERE state = 'due' AND {blocked}",
    "expiries": "SELECT count(*) FROM wishlist_shares d WHERE expired_at IS NULL AND expires_at < now() AND {blocked}",
    "picture_sweep": "SELECT count(*) FROM previews d WHERE state = 'done' AND {blocked}",
}


async def pending(world: World, case: Case) -> int:
    """Rows that are neither done nor parked."""
    table = case.table
    if table is outboxes.ARCHIVE_SWEEP:
        there = {one.key async for one in world.store.listing(f"archive/{world.lab.kafka.events_topic}/")}
        return len(there) - len(await failures(world, case))
    if sql := _WAITING.get(table.name):
        key = "share_id" if table is outboxes.PICTURE_SWEEP else "id"
        blocked = f"""NOT EXISTS (SELECT FROM job_rows r WHERE r.row_id = d.{key}::text AND r.state = 'parked'
                                  AND r.job = '{table.name}')"""
        return int(await world.lab.pool.fetchval(sql.format(blocked=blocked)))
    condition = "state = 'due'" if table is outboxes.PREVIEWS else table.pending
    return int(await world.lab.pool.fetchval(f"SELECT count(*) FROM {table.table} WHERE {condition}"))


async def failures(world: World, case: Case) -> list[Any]:
    """The parked rows."""
    table = case.table
    p = table.prefix
    return list(
        await world.lab.pool.fetch(
            f"""SELECT {p}failures AS failures, {p}reason AS reason, {p}traceback AS traceback
                FROM {table.table} WHERE {table.is_parked}"""
        )
    )
