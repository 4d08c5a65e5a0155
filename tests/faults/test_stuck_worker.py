"""A worker in which nothing moves says so, and once it is started again it makes up for it; who waits is not stuck."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import asyncpg

from config.settings import PostgresSettings
from sinks.share_store import GROUP
from tests.lab import NOWHERE, Lab, eventually, expected_totals, free_port, health, story

QUICK = {"STREAM_PROGRESS_CHECK_SECONDS": "0.3", "STREAM_STUCK_AFTER_SECONDS": "3", "STREAM_RETRY_MAX_SECONDS": "0.5"}


def group(lab: Lab) -> str:
    return GROUP + lab.env["STREAM_GROUP_SUFFIX"]


def sample(port: str, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))


async def state(port: str, wanted: str) -> None:
    async def reached() -> bool:
        return (await asyncio.to_thread(health, port))[1] == wanted

    await eventually(reached, 60, f"the worker is {wanted}")


async def test_a_fetcher_that_fell_silent_is_reported_and_a_restart_makes_up_for_it(lab: Lab, tmp_path: Path) -> None:
    events = story(4_000)
    trigger, port = tmp_path / "hang", free_port()
    hung = {**QUICK, "STREAM_METRICS_PORT": port, "HUNG_FETCHER_FILE": str(trigger)}
    worker = lab.start(module="tests.hung_fetcher", **hung)
    lab.produce_events(events[:1_000])
    await lab.applied(group(lab))
    await state(port, "healthy")
    trigger.touch()
    # The fetches that were under way when the file came still bring what comes first.
    lab.produce_events(events[1_000:2_000])
    await asyncio.sleep(1)
    lab.produce_events(events[2_000:3_000])
    await state(port, "stuck")
    status, _, reason = health(port)
    assert status == 503
    assert re.search(rf"{re.escape(lab.kafka.events_topic)}\[\d+\]: \d+ records wait at offset \d+", reason)
    assert sample(port, "wishlist_stuck_partitions") > 0
    worker.kill()
    worker.wait()
    lab.produce_events(events[3_000:])
    port = free_port()
    lab.start(**QUICK, STREAM_METRICS_PORT=port)
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(events)
    await state(port, "healthy")
    assert health(port)[0] == 200


@asynccontextmanager
async def no_database(lab: Lab) -> AsyncIterator[None]:
    """PostgreSQL turns the workers away from their database."""
    admin = await asyncpg.connect(PostgresSettings().dsn)
    name = urlsplit(lab.dsn).path[1:]
    await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE (datname, application_name) = ($1, $2)",
        name,
        "wishlist-social",
    )
    try:
        yield
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await admin.close()


async def test_a_worker_that_waits_for_postgresql_is_not_stuck(lab: Lab) -> None:
    events, port = story(2_000), free_port()
    lab.start(**QUICK, STREAM_METRICS_PORT=port)
    lab.produce_events(events[:1_000])
    await lab.applied(group(lab))
    async with no_database(lab):
        lab.produce_events(events[1_000:])
        await state(port, "waiting")
        tries = sample(port, "wishlist_batch_retries_total")

        async def many_tries() -> bool:
            return await asyncio.to_thread(sample, port, "wishlist_batch_retries_total") >= tries + 20

        # Twenty pauses of up to half a second: well over the 3 s after which it would be stuck.
        await eventually(many_tries, 60, "it goes on trying")
        assert health(port)[:2] == (200, "waiting")
        assert health(port, "healthz")[:2] == (200, "waiting")
        assert sample(port, "wishlist_group_waiting") == 1
        assert sample(port, "wishlist_stuck_partitions") == 0
    await lab.applied(group(lab))
    assert await lab.totals() == expected_totals(events)
    await state(port, "healthy")


async def test_a_worker_that_starts_without_postgresql_says_so(lab: Lab) -> None:
    port = free_port()
    lab.start(**QUICK, STREAM_METRICS_PORT=port, POSTGRES_DSN=f"postgresql://wishlist@{NOWHERE}/wishlist")
    await state(port, "waiting")
    assert "reading watermarks" in health(port)[2]


async def test_a_worker_whose_wait_for_positions_outlasts_kafkas_requests_goes_on(lab: Lab) -> None:
    """Faust waits no longer than for one of those, and then reads nothing for good; by its default after 90 s."""
    events, port = story(200), free_port()
    lab.produce_events(events)
    async with no_database(lab):
        lab.start(**QUICK, STREAM_METRICS_PORT=port, BROKER_REQUEST_TIMEOUT="7")
        await state(port, "waiting")
        await asyncio.sleep(10)
    await lab.applied(group(lab), within=20)
    assert await lab.totals() == expected_totals(events)


async def test_a_worker_whose_batches_take_long_is_not_stuck(lab: Lab) -> None:
    events, port = story(60), free_port()
    # Each batch takes a second, and the sum of them three times as long as it takes to be stuck.
    await lab.pool.execute(
        """CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
           CREATE TRIGGER slowly AFTER UPDATE ON watermarks FOR EACH STATEMENT EXECUTE FUNCTION slowly()"""
    )
    lab.start(**QUICK, STREAM_METRICS_PORT=port, STREAM_MAX_POLL_RECORDS="5", STREAM_MAX_BATCH_EVENTS="5")
    lab.produce_events(events)
    applied = asyncio.create_task(lab.applied(group(lab)))
    seen = set()
    while not applied.done():
        await asyncio.wait([applied], timeout=0.3)
        seen.add((await asyncio.to_thread(health, port))[1])
    await applied
    assert "healthy" in seen
    assert "stuck" not in seen


async def test_a_worker_that_its_group_refuses_joins_again(lab: Lab) -> None:
    events = story(200)
    lab.produce_events(events)
    lab.start(module="tests.refused_member")
    await lab.applied(group(lab), within=20)
    assert await lab.totals() == expected_totals(events)
    assert "the group is joined again" in lab.log_files[0].read_text()


async def test_an_idle_worker_is_not_stuck(lab: Lab) -> None:
    port = free_port()
    lab.start(**QUICK, STREAM_METRICS_PORT=port)
    lab.produce_events(story(200))
    await lab.applied(group(lab))
    for _ in range(8):
        await asyncio.sleep(0.6)
        assert health(port)[:2] == (200, "healthy")
