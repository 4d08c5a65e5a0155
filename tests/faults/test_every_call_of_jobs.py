"""Every call that the agents' own jobs make of a driver, or of whom they tell, fails once, in each way it can.

Each piece of work is done once all the same; who is told of it outside may hear of it again, under the same id.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import clients.postgres
from clients.bigquery import RowsRefused
from clients.postgres import DRIVER_ERRORS, Database
from config.settings import PostgresSettings
from streams.outbox.worker import OutboxWorker
from streams.pushes.announcing import AnnouncementOutbox
from tests.agent_jobs import JOBS, Job, World, closer, open_world
from tests.lab import Lab, eventually
from tests.trap import HOW, Trap
from tests.warehouse import open_warehouse

# The emulator of BigQuery takes minutes over it.
long_form = pytest.mark.skipif("FAULT_HOUSE_EVENTS" not in os.environ, reason="long: ./run test faults")
CLOSING, ANNOUNCING = (next(job for job in JOBS if job.name == name) for name in ("digests closed", "pushes announced"))


@pytest.fixture
async def world(lab: Lab, trap: Trap) -> AsyncIterator[World]:
    async with open_world(lab, trap) as world:
        yield world


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "job", [pytest.param(job, id=job.name, marks=[long_form] if job.needs_warehouse else []) for job in JOBS]
)
async def test_each_call_fails_once(world: World, trap: Trap, job: Job) -> None:
    async with AsyncExitStack() as opened:
        if job.needs_warehouse:
            world.warehouse = await opened.enter_async_context(open_warehouse(f"jobs_{uuid4().hex[:12]}"))
        await each_call_fails_once(world, trap, job)


async def each_call_fails_once(world: World, trap: Trap, job: Job) -> None:
    number = 0
    for how in HOW:
        passing = (*DRIVER_ERRORS, RowsRefused, RuntimeError) if how == "a defect" else (*DRIVER_ERRORS, RowsRefused)
        for call in count(1):
            number += 1
            await job.prepare(world, number)
            database = Database(PostgresSettings(dsn=world.lab.dsn))
            trap.set(call, how)
            with suppress(*passing):
                await job.round(world, database, number)
            sprung = trap.has_sprung
            trap.set(0)

            async def done(database: Database = database, number: int = number) -> bool:
                for statement in job.later:
                    await world.lab.pool.execute(statement)
                # Until the server has noticed that a connection is lost, its rows are locked, and passed by.
                await job.round(world, database, number)
                return len(await job.done(world)) == number

            await eventually(done, 30, f"{number} done")
            await (await database.pool()).close()
            if not sprung:
                break
        assert call > job.calls, "there are calls to fail"
        print(f"{job.name}: {call - 1} calls, each failed once: {how}")
        pieces = dict(await job.done(world))
        assert list(pieces.values()) == [1] * number
        if job.tells:
            assert world.told.keys() == pieces.keys(), "each under its own id"
            assert max(world.told.values()) <= 2, "and again only where a call failed"


@pytest.mark.parametrize("job", [CLOSING, ANNOUNCING], ids=lambda job: job.name)
async def test_a_connection_is_ended_just_as_it_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    """asyncpg calls that an internal error of its own; the job goes on, and its worker with it."""
    await job.prepare(world, 1)
    ended = 0

    async def fetch(self: asyncpg.Connection, *words: Any, **more: Any) -> Any:
        nonlocal ended
        if not ended:
            ended += 1
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
        return await asyncpg.Connection.fetch(self, *words, **more)

    monkeypatch.setattr(clients.postgres.PlainConnection, "fetch", fetch, raising=False)
    database = Database(PostgresSettings(dsn=world.lab.dsn))
    announcer = OutboxWorker(AnnouncementOutbox(database, 0.1), database)
    worker = closer(database, 1) if job is CLOSING else announcer
    running = asyncio.create_task(worker.run())

    async def done() -> bool:
        assert not running.done(), running
        return [times for _, times in await job.done(world)] == [1]

    await eventually(done, 30, "it is done")
    assert ended
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await (await database.pool()).close()
