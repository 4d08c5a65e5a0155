"""``./run bench replay``: `wishlist replay` into PostgreSQL and BigQuery, beside a bare loop and Quix Streams.

Three questions, named after --what: rivals (alternating runs over the same topic), sizes (what more events
cost), workers (--workers of the command). A rate counts from the first row that is there to the last. BigQuery is the
emulator, which takes some 100 µs a row: it gets a part of the events, except once. With what
is set by default it takes some 40 minutes on 2 cores, and an hour at most; --quick, which proves nothing, two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from bench import side_by_side
from clients.bigquery import Warehouse
from schemas.event import EventType
from tests.lab import Lab, open_lab, story
from tests.warehouse import open_warehouse

console = Console(stderr=True)
_CHUNK = 50_000
TITLES = {"ours": "wishlist replay", "bare": "bare loop", "quix": "Quix Streams, batching sink"}


@dataclass(frozen=True)
class Plan:
    """Numbers of events: for the rivals, for the sizes, for the workers."""

    rivals: int
    sizes: tuple[int, ...]
    spread: int


PLANS = {
    "postgres": Plan(1_000_000, (100_000, 1_000_000, 3_000_000), 500_000),
    "bigquery": Plan(200_000, (100_000, 1_000_000), 200_000),
}
QUICK = {"postgres": Plan(20_000, (10_000, 40_000), 20_000), "bigquery": Plan(4_000, (2_000, 6_000), 4_000)}
WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class Topic:
    """A topic with so many events, and how many of them are views, which is what is counted in PostgreSQL."""

    lab: Lab
    events: int
    views: int


@asynccontextmanager
async def open_topic(events: int) -> AsyncIterator[Topic]:
    """A lab whose topic holds *events*, of a share for every 50."""
    async with open_lab(Path(tempfile.mkdtemp())) as lab:
        views = 0
        for begin in range(0, events, _CHUNK):
            some = story(min(_CHUNK, events - begin), begin)
            views += sum(1 for event in some if event.event_type is EventType.VIEWED)
            await asyncio.to_thread(lab.produce_events, some)
        yield Topic(lab, events, views)


async def into_postgres(topic: Topic, command: Sequence[str]) -> float:
    """Events/s of *command* into an emptied share store."""
    lab = topic.lab
    await _empty(lab)

    async def seen() -> int:
        return int(await lab.pool.fetchval("SELECT coalesce(sum(raw_view_count), 0) FROM wishlist_shares"))

    rate = await side_by_side.rate_of(command, _env(lab, "postgres"), seen, topic.views, within=300)
    return rate * topic.events / topic.views


async def into_bigquery(topic: Topic, command: Sequence[str]) -> float:
    """Rows/s of *command* into a new dataset."""
    lab = topic.lab
    await _empty(lab)
    name = f"bench_{uuid4().hex[:12]}"
    async with open_warehouse(name) as warehouse:
        sql = f"SELECT count(*) AS n FROM `{warehouse.dataset}.share_events` WHERE event_date > DATE '1970-01-01'"

        async def seen() -> int:
            return int((await asyncio.to_thread(Warehouse(warehouse.settings).query, sql))[0]["n"])

        env = {**_env(lab, "bigquery"), "BIGQUERY_DATASET": name}
        return await side_by_side.rate_of(command, env, seen, topic.events, look_seconds=0.5, within=900)


INTO = {"postgres": ("persist", into_postgres), "bigquery": ("warehouse", into_bigquery)}


def _env(lab: Lab, into: str) -> dict[str, str]:
    return {**lab.env, "STREAM_GROUP_SUFFIX": f"-{uuid4().hex[:8]}", "BENCH_INTO": into}


async def _empty(lab: Lab) -> None:
    books = ("ledger", "watermarks", "warehouse_appends", "warehouse_owners", "replays")
    for table in (*books, "share_visitors", "wishlist_shares"):
        await lab.pool.execute(f"TRUNCATE {table} CASCADE")
    await lab.pool.execute("VACUUM ANALYZE")
    await lab.pool.execute("CHECKPOINT")


def replay(sink: str, workers: int = 1) -> list[str]:
    """The operator's command."""
    return [sys.executable, "-m", "ops.cli", "replay", sink, "--yes", "--rate", "10000000", "--workers", str(workers)]


async def rivals(into: str, events: int, runs: int) -> dict[str, Any]:
    """Ours, the bare loop and Quix Streams in alternating runs."""
    sink, measure = INTO[into]
    quix = side_by_side.quix_python()
    rates: dict[str, list[float]] = {name: [] for name in TITLES}
    async with open_topic(events) as topic:
        ways = {
            "ours": replay(sink),
            "bare": [sys.executable, "-m", f"{side_by_side.RIVALS}.bare"],
            "quix": [quix, "-m", f"{side_by_side.RIVALS}.quix"],
        }
        for run in range(runs):
            for name, command in ways.items():
                rates[name].append(await measure(topic, command))
            _tell(into, run, rates)
    return side_by_side.show(f"{events:,} events into {into}", TITLES, rates, "ours")


async def sizes(into: str, counts: Sequence[int]) -> dict[str, Any]:
    """What one replay costs at each number of events."""
    sink, measure = INTO[into]
    table = Table("events", "seconds", "µs an event", title=f"one replay into {into}")
    result = {}
    for count in counts:
        try:
            async with open_topic(count) as topic:
                rate = await measure(topic, replay(sink))
        except RuntimeError as error:  # what was measured before is not lost by it
            console.print(f"{into}: {count:,} events: {error}")
            table.add_row(f"{count:,}", "too long", "")
            continue
        result[str(count)] = {"seconds": count / rate, "microseconds_an_event": 1e6 / rate}
        table.add_row(f"{count:,}", f"{count / rate:.1f}", f"{1e6 / rate:.1f}")
        console.print(f"{into}: {count:,} events in {count / rate:.1f} s")
    Console().print(table)
    return result


async def workers(into: str, events: int, runs: int) -> dict[str, Any]:
    """So many workers of a replay, in alternating runs."""
    sink, measure = INTO[into]
    rates: dict[str, list[float]] = {str(number): [] for number in WORKERS}
    async with open_topic(events) as topic:
        for run in range(runs):
            for number in WORKERS:
                rates[str(number)].append(await measure(topic, replay(sink, number)))
            console.print(
                f"{into}, run {run + 1}: " + ", ".join(f"{way}: {of[-1]:,.0f}/s" for way, of in rates.items())
            )
    titles = {str(number): f"--workers {number}" for number in WORKERS}
    return side_by_side.show(f"{events:,} events into {into}", titles, rates, "1", inverse=True)


def _tell(into: str, run: int, rates: Mapping[str, Sequence[float]]) -> None:
    console.print(f"{into}, run {run + 1}: " + ", ".join(f"{way}: {of[-1]:,.0f}/s" for way, of in rates.items()))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="rivals,sizes,workers")
    parser.add_argument("--into", default="postgres,bigquery")
    parser.add_argument("--events", type=int, help="for rivals and workers")
    parser.add_argument("--sizes", help="numbers of events for sizes, such as 100000,1000000")
    parser.add_argument("--runs", type=int, help="3 unless --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs = arguments.runs or (1 if arguments.quick else 3)
    result: dict[str, dict[str, Any]] = {}
    for into in arguments.into.split(","):
        plan = (QUICK if arguments.quick else PLANS)[into]
        if arguments.events:
            plan = replace(plan, rivals=arguments.events, spread=arguments.events)
        if arguments.sizes:
            plan = replace(plan, sizes=tuple(int(size) for size in arguments.sizes.split(",")))
        questions = {
            "rivals": lambda into=into, plan=plan: rivals(into, plan.rivals, runs),
            "sizes": lambda into=into, plan=plan: sizes(into, plan.sizes),
            "workers": lambda into=into, plan=plan: workers(into, plan.spread, runs),
        }
        result[into] = {name: await questions[name]() for name in arguments.what.split(",")}
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
