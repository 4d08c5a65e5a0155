"""``./run bench persist``: the persist agent beside five other ways to write the same events, in alternating runs.

Each way gets a fresh database and reads the same preloaded topic. The rate counts from the first event seen in
PostgreSQL to the last, so that starting a process is not held against anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from tests.lab import Lab, open_lab, story

ROOT = Path(__file__).parent.parent
console = Console(stderr=True)

# Name, what it is, module, how many of the events it gets (the slow ones would take minutes), interpreter variable.
WAYS: dict[str, tuple[str, list[str], float]] = {
    "ours": ("(a) the persist agent", ["-m", "streams", "persist"], 1),
    "stock_take": ("(b) stock Faust, take", ["-m", "bench.persist_rivals.stock_take"], 0.5),
    "stock_single": ("(c) stock Faust, one transaction an event", ["-m", "bench.persist_rivals.stock_single"], 0.03),
    "quix": ("(d) Quix Streams, batching sink", ["-m", "bench.persist_rivals.quix"], 1),
    "bare": ("(f) bare confluent-kafka + asyncpg", ["-m", "bench.persist_rivals.bare"], 1),
}
_SEEN = "SELECT coalesce(sum(raw_view_count), 0) FROM wishlist_shares"


async def one_run(lab: Lab, command: list[str], wanted: int, python: str) -> float:
    """Events/s of one way: *wanted* human views written, from the first seen to the last."""
    for table in ("ledger", "watermarks", "share_visitors", "wishlist_shares"):
        await lab.pool.execute(f"TRUNCATE {table} CASCADE")
    await lab.pool.execute("VACUUM ANALYZE")
    await lab.pool.execute("CHECKPOINT")
    env = {**lab.env, "STREAM_GROUP_SUFFIX": f"-{uuid4().hex[:8]}", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # starting it is quick, and nothing else runs here
            [python, *command], cwd=ROOT, env=env, stdout=log, stderr=log
        )
        try:
            first: tuple[float, int] | None = None
            deadline = time.monotonic() + 180
            while time.monotonic() < deadline:
                seen = int(await lab.pool.fetchval(_SEEN))
                now = time.perf_counter()
                if first is None and seen:
                    first = (now, seen)
                if first is not None and seen >= wanted and now > first[0]:
                    return (seen - first[1]) / (now - first[0])
                await asyncio.sleep(0.02)
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} did not finish:\n{log.read()[-2000:].decode()}")
        finally:
            process.kill()
            process.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ways = [name for name in arguments.ways.split(",") if name in WAYS]
    rates: dict[str, list[float]] = {name: [] for name in ways}
    quix_python = os.environ.get("BENCH_PYTHON", sys.executable)
    async with open_lab(Path(tempfile.mkdtemp())) as lab:
        events = story(arguments.events)
        views = sum(1 for e in events if e.page_view_id is not None)
        lab.produce_events(events)
        await (await asyncpg.connect(lab.dsn)).close()
        for run in range(arguments.runs):
            for name in ways:
                title, command, part = WAYS[name]
                rate = await one_run(lab, command, int(views * part), quix_python if name == "quix" else sys.executable)
                rates[name].append(rate)
                console.print(f"run {run + 1}: {title}: {rate:,.0f} events/s")
    table = Table(
        "way", "events/s (median)", "min to max", "ours / this, pair by pair", title=f"{arguments.events:,} events"
    )
    result: dict[str, object] = {"events": arguments.events, "runs": arguments.runs}
    for name in ways:
        figures = rates[name]
        ratios = sorted(a / b for a, b in zip(rates.get("ours", figures), figures, strict=True))
        table.add_row(
            WAYS[name][0],
            f"{statistics.median(figures):,.0f}",
            f"{min(figures):,.0f} to {max(figures):,.0f}",
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        )
        result[name] = {"events_per_second": statistics.median(figures), "ours_over_this": statistics.median(ratios)}
    Console().print(table)
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
