"""``./run bench persist``: the persist agent beside five other ways to write the same events, in alternating runs.

Each way gets a fresh database and reads the same preloaded topic. The rate counts from the first event seen in
PostgreSQL to the last, so that starting a process is not held against anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import asyncpg
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from rich.console import Console

from bench import side_by_side
from bench.persist_rivals import connect
from tests.lab import Lab, open_lab, story

console = Console(stderr=True)


@dataclass(frozen=True)
class Way:
    """One program: what it is, its module and words, the share of the events it gets, and how its rows are counted."""

    title: str
    module: Sequence[str]
    part: float = 1.0
    seen: str = "SELECT coalesce(sum(raw_view_count), 0) FROM wishlist_shares"


WAYS: dict[str, Way] = {
    "ours": Way("(a) the persist agent", ["streams", "persist"]),
    "stock_take": Way("(b) stock Faust with take", [f"{side_by_side.RIVALS}.stock_take"], 0.5),
    "stock_single": Way("(c) stock Faust, a transaction an event", [f"{side_by_side.RIVALS}.stock_single"], 0.03),
    "quix": Way("(d) Quix Streams, batching sink", [f"{side_by_side.RIVALS}.quix"]),
    "connect": Way(
        "(e) Kafka Connect, JDBC upsert (lesser work)",
        [f"{side_by_side.RIVALS}.connect"],
        1,
        f"SELECT count(*) FROM {connect.TABLE}",
    ),
    "bare": Way("(f) bare confluent-kafka + asyncpg", [f"{side_by_side.RIVALS}.bare"]),
}


async def count_seen(lab: Lab, way: Way) -> int:
    """How many events' rows are there."""
    try:
        return int(await lab.pool.fetchval(way.seen))
    except asyncpg.UndefinedTableError:  # Connect makes its table with the first row
        return 0


async def one_run(lab: Lab, way: Way, wanted: int, python: str) -> float:
    """Events/s of one way: *wanted* human views written, from the first seen to the last."""
    for table in ("ledger", "watermarks", "share_visitors", "wishlist_shares"):
        await lab.pool.execute(f"TRUNCATE {table} CASCADE")
    await lab.pool.execute(f"DROP TABLE IF EXISTS {connect.TABLE}")
    await lab.pool.execute("VACUUM ANALYZE")
    await lab.pool.execute("CHECKPOINT")
    env = {**lab.env, "STREAM_GROUP_SUFFIX": f"-{uuid4().hex[:8]}", "WISHLIST_CACHE": str(side_by_side.CACHE)}
    return await side_by_side.rate_of([python, "-m", *way.module], env, lambda: count_seen(lab, way), wanted)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ways = [name for name in arguments.ways.split(",") if name in WAYS]
    rates: dict[str, list[float]] = {name: [] for name in ways}
    quix_python = side_by_side.quix_python() if "quix" in ways else ""
    async with open_lab(Path(tempfile.mkdtemp())) as lab:
        events = story(arguments.events)
        views = sum(1 for e in events if e.page_view_id is not None)
        lab.produce_events(events)
        if "connect" in ways:
            topic = connect.json_topic(lab.kafka.events_topic)
            admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap_servers})
            admin.create_topics([NewTopic(topic, 12, 1)])[topic].result(30)
            replace(lab, kafka=lab.kafka.model_copy(update={"events_topic": topic})).produce(connect.as_json(events))
        for run in range(arguments.runs):
            for name in ways:
                way = WAYS[name]
                wanted = len(events) if name == "connect" else int(views * way.part)
                rate = await one_run(lab, way, wanted, quix_python if name == "quix" else sys.executable)
                rates[name].append(rate)
                console.print(f"run {run + 1}: {way.title}: {rate:,.0f} events/s")
    titles = {name: WAYS[name].title for name in ways}
    result = side_by_side.show(f"{arguments.events:,} events", titles, rates, "ours")
    if arguments.json:
        print(json.dumps({"events": arguments.events, "runs": arguments.runs, **result}))


if __name__ == "__main__":
    asyncio.run(main())
