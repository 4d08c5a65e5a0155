"""``./run bench soak``: everything at work for twenty minutes; does memory grow, does anybody fall behind?

Share events go to the topic by the clock, at half of the rate that all groups can keep up with (measured first, or
``--rate``), while people use the API. Every few seconds each process's memory and each group's lag are noted.

It has failed (exit code 1) where

- a process's memory grows: after the warm-up, the whole 95 % interval of its slope is above ``--mb-per-hour``;
- a group falls behind: the whole interval of its lag's slope is above half a percent of the rate, or at the end
  more than ten seconds' worth of events wait;
- a process is another one than at the start;
- an event is missing from the share store, or there twice, or anything came to the DLQ.

The renderer is shown but not judged: its browsers come and go by design, and only few shares are made (see
``bench/soak_traffic.py``). Start with a stack whose groups have nothing to catch up with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import api_world
from bench.open_loop import Figures
from bench.soak_traffic import Traffic, ask_api, prepare, producer, send
from bench.trend import Sample, Slope, in_bins, slope
from clients.log_ends import LogEnds
from clients.producer import EventProducer
from config.settings import KafkaSettings
from ops.stack.parts import AGENTS
from ops.stack.state import State
from sinks.share_store import GROUP

ROOT = Path(__file__).parent.parent
JUDGED = ("api", *AGENTS)
SHOWN = (*JUDGED, "renderer")
MB = 1_000_000
BIN_SECONDS = 20.0
STEP_SECONDS, REST_SECONDS = 20.0, 180.0
# A group keeps up where less waits than comes in so many seconds: two for which the warehouse gathers, and what is on
# its way.
KEPT_UP_SECONDS, END_SECONDS = 5.0, 10.0
MOST = 3_000.0
FIRST_STEP = 250.0
LAG_SHARE = 0.005
console = Console(stderr=True, highlight=False)


@dataclass
class Watch:
    """What is noted: samples of (seconds, value) by process and by group."""

    memory: dict[str, list[Sample]] = field(default_factory=dict)
    lag: dict[str, list[Sample]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)


class Stack:
    """The running stack, as one who watches sees it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._kafka = KafkaSettings()
        self._ends = LogEnds(self._kafka)
        self.processes = {name: process for name, process in State.here().processes().items() if name in SHOWN}

    def memory(self) -> dict[str, float]:
        """Resident bytes of each process with its children."""
        found: dict[str, float] = {}
        for name, process in self.processes.items():
            with suppress(psutil.NoSuchProcess):
                for one in [process, *process.children(recursive=True)]:
                    found[name] = found.get(name, 0.0) + one.memory_info().rss
        return found

    def replaced(self) -> list[str]:
        """Processes that are not those of the start any more."""
        now = State.here().processes()
        return [name for name, process in self.processes.items() if now.get(name) != process]

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Where each partition's log ends."""
        found = await self._ends.of_topic(topic)
        if found is None:
            raise SystemExit(f"no broker tells where {topic} ends: is the stack up?")
        return found

    async def records(self, topic: str | None = None) -> int:
        """How many records were ever appended to the events' topic, or another."""
        return sum((await self.ends(topic or self._kafka.events_topic)).values())

    async def dead_letters(self) -> int:
        """How many records came to the DLQ."""
        return await self.records(self._kafka.dlq_topic)

    async def lag(self) -> dict[str, float]:
        """Records that wait, by group: the topics' ends minus the sinks' watermarks."""
        # In this order: what a sink applies meanwhile makes no lag negative.
        rows = await self._connection.fetch("SELECT consumer_group, topic, partition, next_offset FROM watermarks")
        ends = {topic: await self.ends(topic) for topic in {row["topic"] for row in rows}}
        found: dict[str, float] = {}
        for row in rows:
            behind = ends[row["topic"]].get(row["partition"], row["next_offset"]) - row["next_offset"]
            found[row["consumer_group"]] = found.get(row["consumer_group"], 0) + behind
        return found

    async def caught_up(self, within: float, records: float = 0) -> bool:
        """Wait until no group has more than *records* waiting; False if that takes too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while max((await self.lag()).values(), default=0) > records:
            if loop.time() > until:
                return False
            await asyncio.sleep(1)
        return True


async def highest_rate(stack: Stack, traffic: Traffic, to: EventProducer) -> float:
    """Events/s with which every group keeps up: steps of a half until one fails, and the middle of the last two."""
    held, rate, failed = 0.0, FIRST_STEP, 0.0
    for _ in range(10):
        await send(traffic.events, to, rate, STEP_SECONDS)
        lag = await stack.lag()
        slowest = max(lag, key=lambda group: lag[group])
        keeps_up = lag[slowest] < KEPT_UP_SECONDS * rate
        console.print(f"  {rate:6,.0f}/s: {lag[slowest]:7,.0f} wait in {slowest} {'✓' if keeps_up else '✗'}")
        if not await stack.caught_up(REST_SECONDS):
            raise SystemExit(f"{slowest} does not catch up within {REST_SECONDS:.0f} s without load")
        if keeps_up:
            held = rate
        else:
            failed = rate
        if failed:
            if failed - held < 0.2 * failed:
                break
            rate = (held + failed) / 2
        else:
            rate *= 1.5
    if not held:
        raise SystemExit(f"no group keeps up with {FIRST_STEP:.0f} events/s here")
    return held


async def observe(stack: Stack, seconds: float, every: float) -> Watch:
    """Note memory and lag until the time is over."""
    loop = asyncio.get_running_loop()
    watch, began = Watch(), loop.time()
    while (at := loop.time() - began) < seconds:
        for name, held in stack.memory().items():
            watch.memory.setdefault(name, []).append((at, held / MB))
        for group, waiting in (await stack.lag()).items():
            watch.lag.setdefault(group, []).append((at, waiting))
        watch.load.append(os.getloadavg()[0])
        await asyncio.sleep(max(0.0, every - (loop.time() - began - at)))
    return watch


def judge_memory(watch: Watch, warm_up: float, limit: float) -> tuple[Table, list[str], dict[str, Any]]:
    """Each process's slope in MB an hour, and whose is certainly above the limit."""
    table = Table("process", "MB at first", "MB at last", "MB/hour", "95 % interval", "", title="memory, resident")
    grown: list[str] = []
    figures: dict[str, Any] = {}
    for name in [name for name in SHOWN if name in watch.memory]:
        samples = [sample for sample in watch.memory[name] if sample[0] >= warm_up]
        found = slope([(at / 3_600, held) for at, held in in_bins(samples, BIN_SECONDS)])
        is_growing = name in JUDGED and found.low > limit
        verdict = "[red]grows[/]" if is_growing else "" if name in JUDGED else "not judged"
        table.add_row(name, f"{samples[0][1]:.1f}", f"{samples[-1][1]:.1f}", *_words(found), verdict)
        figures[name] = {"mb": round(samples[-1][1], 1), "mb_per_hour": _rounded(found)}
        if is_growing:
            grown.append(f"{name}'s memory grows by {found.low:.1f} to {found.high:.1f} MB/hour; {limit:g} are allowed")
    return table, grown, figures


def judge_lag(watch: Watch, warm_up: float, rate: float) -> tuple[Table, list[str], dict[str, Any]]:
    """Each group's slope in records a second, its maximum, and who falls behind."""
    table = Table("group", "median", "maximum", "records/s more", "95 % interval", "", title="lag, records")
    behind: list[str] = []
    figures: dict[str, Any] = {}
    for group, noted in sorted(watch.lag.items()):
        samples = [sample for sample in noted if sample[0] >= warm_up]
        found = slope(in_bins(samples, BIN_SECONDS))
        values = sorted(waiting for _, waiting in samples)
        last = sorted(waiting for _, waiting in samples[-5:])[len(samples[-5:]) // 2]
        falls = found.low > LAG_SHARE * rate or last > END_SECONDS * rate
        table.add_row(
            group, f"{values[len(values) // 2]:,.0f}", f"{values[-1]:,.0f}", *_words(found),
            "[red]falls behind[/]" if falls else "",
        )  # fmt: skip
        figures[group] = {"maximum": values[-1], "records_per_second": _rounded(found)}
        if falls:
            behind.append(
                f"{group} falls behind: {found.low:.1f} to {found.high:.1f} records/s, {last:,.0f} at the end"
            )
    return table, behind, figures


def _words(found: Slope) -> tuple[str, str]:
    return f"{found.estimate:+.1f}", f"{found.low:+.1f} to {found.high:+.1f}"


def _rounded(found: Slope) -> list[float]:
    return [round(value, 2) for value in (found.low, found.estimate, found.high)]


_APPLIED = "SELECT count(*) FROM ledger WHERE consumer_group = $1"
_SHARES = """
    SELECT count(*) AS shares, coalesce(sum(raw_view_count), 0)::bigint AS raw,
           coalesce(sum(view_count), 0)::bigint AS views, coalesce(sum(items_added), 0)::bigint AS added
    FROM wishlist_shares WHERE share_token = ANY($1::text[])"""


@dataclass(frozen=True)
class Books:
    """What was there before the load began."""

    records: int
    applied: int
    dead_letters: int

    @classmethod
    async def of(cls, stack: Stack, connection: asyncpg.Connection) -> Books:
        """As they are now."""
        applied = await connection.fetchval(_APPLIED, GROUP)
        return cls(await stack.records(), applied, await stack.dead_letters())


async def differences(
    connection: asyncpg.Connection, before: Books, after: Books, traffic: Traffic, answered: int
) -> list[str]:
    """What is not exactly once: the topic, the share store's ledger and its rows against what was sent."""
    [row] = await connection.fetch(_SHARES, traffic.tokens)
    sent = sum(traffic.sent.values())
    sums = {
        "records in the topic": (after.records - before.records, sent + answered),
        "events in the share store's ledger": (after.applied - before.applied, sent + answered),
        "dead letters": (after.dead_letters - before.dead_letters, 0),
        "shares of the traffic": (row["shares"], len(traffic.tokens)),
        "views of them": (row["raw"], sum(count for kind, count in traffic.sent.items() if kind == "share_viewed")),
        "views by people": (row["views"], traffic.views_of_people),
        "items taken from them": (row["added"], len(traffic.copies)),
    }
    for what, (found, expected) in sums.items():
        console.print(f"  {what}: {found:,}, of {expected:,}")
    return [
        f"{what}: {found:,} instead of {expected:,}" for what, (found, expected) in sums.items() if found != expected
    ]


async def soak(arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    seconds = 60 * arguments.minutes
    warm_up = seconds * arguments.warm_up
    connection = await asyncpg.connect(os.environ["POSTGRES_DSN"])
    traffic = Traffic(int.from_bytes(os.urandom(3)))
    await prepare(connection, traffic)
    stack = Stack(connection)
    api = f"http://127.0.0.1:{os.environ['API_PORT']}"
    console.print("making users, lists, tokens and shares …")
    people = await api_world.make(os.environ["POSTGRES_DSN"], api)
    if not await stack.caught_up(REST_SECONDS):
        raise SystemExit(f"some group has more to catch up with than it can in {REST_SECONDS:.0f} s: wait, then again")
    before = await Books.of(stack, connection)
    rate = arguments.rate
    async with producer() as to:
        if not rate:
            console.print(f"the highest rate that all groups keep up with, {STEP_SECONDS:.0f} s a step:")
            highest = await highest_rate(stack, traffic, to)
            rate = min(highest / 2, MOST)
            console.print(f"{highest:,.0f} events/s; the soak is at {rate:,.0f}/s")
        watch, _, figures = await asyncio.gather(
            observe(stack, seconds, arguments.every),
            send(traffic.events, to, rate, seconds),
            ask_api(people, api, seconds),
        )
    faults = [f"{name} is not the process that it was" for name in stack.replaced()]
    if not await stack.caught_up(REST_SECONDS):
        faults.append(f"not all groups have caught up {REST_SECONDS:.0f} s after the end")
    memory, grown, of_memory = judge_memory(watch, warm_up, arguments.mb_per_hour)
    lag, behind, of_lag = judge_lag(watch, warm_up, rate)
    Console(stderr=True).print(memory, lag)
    faults += grown + behind + _unanswered(figures)
    answered = sum(figure.statuses[status] for figure in figures.values() for status in (200, 201))
    console.print("every event once:")
    faults += await differences(connection, before, await Books.of(stack, connection), traffic, answered)
    await connection.close()
    events = sum(traffic.sent.values()) + answered
    load = sorted(watch.load)
    console.print(
        f"{events:,} events, {rate:,.0f}/s for {arguments.minutes:g} minutes, the first {warm_up / 60:.1f} to warm up; "
        f"the machine's load (1 minute): {load[0]:.1f} to {load[-1]:.1f}, median {load[len(load) // 2]:.1f}, "
        f"on {os.cpu_count()} cores"
    )
    return faults, {"events": events, "rate": rate, "memory": of_memory, "lag": of_lag, "faults": faults}


def _unanswered(figures: Mapping[str, Figures]) -> list[str]:
    for name, figure in figures.items():
        p99 = 1_000 * figure.percentile(0.99)
        console.print(f"  API, {name}: {figure.sent:,} requests, {100 * figure.success:.2f} %, p99 {p99:.0f} ms")
    return [
        f"API, {name}: {dict(f.statuses)}, {f.unanswered} unanswered" for name, f in figures.items() if f.success < 1
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="how long (default 20)")
    parser.add_argument("--rate", type=float, default=0, help="events a second; measured and halved if left out")
    parser.add_argument("--every", type=float, default=5, help="seconds from one sample to the next (default 5)")
    parser.add_argument(
        "--warm-up", type=float, default=0.25, help="part of the time that is not judged (default 0.25)"
    )
    parser.add_argument("--mb-per-hour", type=float, default=12, help="growth that is allowed (default 12)")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    arguments = parser.parse_args()
    # Without a supervisor: a process that ends is what the soak wants to see.
    subprocess.run([str(ROOT / "run"), "up", "--unsupervised"], cwd=ROOT, check=True)
    faults, result = uvloop.run(soak(arguments))
    for fault in faults:
        console.print(f"[red]{fault}[/]")
    if not faults:
        console.print("[green]memory and lag are flat, and every event is there once[/]")
    if arguments.json:
        print(json.dumps(result))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
