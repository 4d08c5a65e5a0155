"""Every call that the agents' own jobs make of PostgreSQL fails once, in each way it can: what they do is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import clients.postgres
from clients.postgres import Database
from config.settings import DigestSettings, PostgresSettings
from ops.seed import key_of
from streams.digest_close import DigestCloser
from streams.expiry_sweep import expire
from streams.push_announce import PushAnnouncer
from tests.lab import CODEC, Lab, event, eventually
from tests.trap import HOW, Trap

# Nine in the morning where the owner is, on a new day for each digest.
_NINE = datetime(2026, 1, 1, 9, 0, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Job:
    """*prepare* the number-th piece of work; *round* does what is due; *done* says how often each piece was done."""

    name: str
    prepare: Callable[[Lab, int], Awaitable[object]]
    round: Callable[[Database, int], Awaitable[object]]
    done: str


async def _views(lab: Lab, number: int) -> None:
    maya = key_of("user_maya")
    await lab.pool.execute("INSERT INTO digest_counts VALUES ($1, $2, 'US', 'email', 1, 0)", maya, uuid4())
    await lab.pool.execute(
        """INSERT INTO digest_owners (owner_id, is_pending, due_at) VALUES ($1, true, $2)
           ON CONFLICT (owner_id) DO UPDATE SET is_pending = true, due_at = $2""",
        maya,
        _NINE + timedelta(days=number),
    )


async def _close(database: Database, number: int) -> None:
    await DigestCloser(database, DigestSettings(), lambda: _NINE + timedelta(days=number)).round()


async def _item(lab: Lab, number: int) -> None:
    await lab.pool.execute(
        """INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at)
           VALUES ($1, $2, 1, now(), now() - interval '1 minute')""",
        key_of("user_maya"),
        uuid4(),
    )


async def _announce(database: Database, _: int) -> None:
    await PushAnnouncer(database, lambda: datetime.now(UTC)).round()


async def _share(lab: Lab, number: int) -> None:
    made = event()
    await lab.pool.execute(
        """INSERT INTO wishlist_shares (id, wishlist_id, share_token, created_by, share_channel, expires_at)
           VALUES ($1, $2, $3, $4, 'email', now() - interval '1 minute')""",
        made.share_id,
        made.wishlist_id,
        made.share_token,
        made.user_id,
    )


async def _expire(database: Database, _: int) -> None:
    async with (await database.pool()).acquire() as connection:
        await expire(connection, CODEC, datetime.now(UTC))


JOBS = (
    Job("digests", _views, _close, "SELECT 1, (content->'totals'->>'views')::int FROM digests"),
    Job("pushes", _item, _announce, """SELECT p.id, (SELECT count(*) FROM push_deliveries d WHERE d.push_id = p.id)
                                       FROM pushes p WHERE p.state = 'told'"""),
    Job("expiries", _share, _expire, """SELECT s.id, (SELECT count(*) FROM event_outbox o
                                                      WHERE o.share_token = s.share_token)
                                        FROM wishlist_shares s WHERE s.expired_at IS NOT NULL"""),
)  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
async def test_each_call_fails_once(lab: Lab, trap: Trap, job: Job) -> None:
    await lab.pool.execute("UPDATE users SET quiet_start = NULL, quiet_end = NULL, time_zone = 'UTC'")
    await lab.pool.execute(
        "INSERT INTO devices (user_id, platform, token) VALUES ($1, 'android', 'one')", key_of("user_maya")
    )
    number = 0
    for how in HOW:
        for call in count(1):
            number += 1
            await job.prepare(lab, number)
            database = Database(PostgresSettings(dsn=lab.dsn))
            trap.set(call, how)
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RuntimeError):
                await job.round(database, number)
            sprung = trap.has_sprung
            trap.set(0)

            async def done(database: Database = database, number: int = number) -> bool:
                # Until the server has noticed that a connection is lost, its rows are locked, and passed by.
                await job.round(database, number)
                return len(await lab.pool.fetch(job.done)) == number

            await eventually(done, 30, f"{number} done")
            await (await database.pool()).close()
            if not sprung:
                break
        assert call > 4, "there are calls to fail"
        print(f"{job.name}: {call - 1} calls, each failed once: {how}")
        assert [row[1] for row in await lab.pool.fetch(job.done)] == [1] * number


@pytest.mark.parametrize("job", JOBS[:2], ids=lambda job: job.name)
async def test_a_connection_is_ended_just_as_it_is_taken(lab: Lab, monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    """asyncpg calls that an internal error of its own; the job goes on, and its worker with it."""
    await lab.pool.execute("UPDATE users SET quiet_start = NULL, quiet_end = NULL, time_zone = 'UTC'")
    await lab.pool.execute(
        "INSERT INTO devices (user_id, platform, token) VALUES ($1, 'android', 'one')", key_of("user_maya")
    )
    await job.prepare(lab, 1)
    ended = 0

    async def fetch(self: asyncpg.Connection, *words: Any) -> Any:
        nonlocal ended
        if not ended:
            ended += 1
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
        return await asyncpg.Connection.fetch(self, *words)

    monkeypatch.setattr(clients.postgres.PlainConnection, "fetch", fetch, raising=False)
    database = Database(PostgresSettings(dsn=lab.dsn))
    closer = DigestCloser(database, DigestSettings(), lambda: _NINE + timedelta(days=1))
    running = asyncio.create_task(closer.run() if job.name == "digests" else PushAnnouncer(database).run(0.1))

    async def done() -> bool:
        assert not running.done(), running
        return [row[1] for row in await lab.pool.fetch(job.done)] == [1]

    await eventually(done, 30, "it is done")
    assert ended
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await (await database.pool()).close()
