"""``./run bench flood``: does anybody wait for the renderer?

1. The API at the spec's own rates: idle, and while 500 different cards are asked for at once through the topic.
2. So many requests at concurrency 50 against ``POST /render``, no two cards alike.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from bench import api_world
from bench.api import ALONE, SCENARIOS, WARM_UP_RATE, addresses, in_ms
from bench.api_world import World
from bench.open_loop import Figures, Load, run
from clients.producer import EventProducer
from config.settings import KafkaSettings
from schemas.codec import Codec, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import new_share_token, share_id_for, uuid7

CARDS, CONCURRENCY = 500, 50
FIRST_LIST = api_world.SHARES
GIVE_UP_SECONDS = 600.0
ASKED = ("create", "view", "add")
console = Console(stderr=True, highlight=False)


async def load(world: World, api: str, seconds: float) -> dict[str, Figures]:
    """The spec's scenarios at its own rates."""
    return await run([Load(name, api, SCENARIOS[name].rate, SCENARIOS[name].made(world)) for name in ASKED], seconds)


async def ask_for_cards(connection: asyncpg.Connection, world: World) -> list[str]:
    """Append a creation for each of :data:`CARDS` lists, whose titles differ, to the topic; the shares' tokens."""
    rows = await connection.fetch(
        "SELECT id, owner_id FROM wishlists WHERE public_id = ANY($1::text[])",
        [f"{world.name}_list_{number}" for number in range(FIRST_LIST, FIRST_LIST + CARDS)],
    )
    producer = EventProducer(KafkaSettings(), Codec(load_schemas()))
    await producer.start()
    tokens = []
    for row in rows:
        token = new_share_token()
        tokens.append(token)
        producer.send_later(
            ShareEvent(
                event_type=EventType.CREATED,
                wishlist_id=row["id"],
                user_id=row["owner_id"],
                share_token=token,
                share_channel=Channel.COPY_LINK,
                item_count=api_world.ITEMS,
                timestamp=datetime.now(UTC),
                event_id=uuid7(),
                share_id=share_id_for(token),
            )
        )
    await producer.close()
    return tokens


async def rendered(connection: asyncpg.Connection, tokens: list[str]) -> int:
    """How many of *tokens* have a picture of their own, no two of one content."""
    count: int = await connection.fetchval(
        "SELECT count(DISTINCT content_hash) FROM previews WHERE state = 'done' AND share_token = ANY($1::text[])",
        tokens,
    )
    return count


async def flood_the_topic(world: World, api: str, seconds: float) -> dict[str, Any]:
    """The first part."""
    connection = await asyncpg.connect(os.environ["POSTGRES_DSN"])
    try:
        while await connection.fetchval("SELECT EXISTS (SELECT FROM previews WHERE state = 'due')"):  # noqa: ASYNC110  # another process works
            await asyncio.sleep(1)
        idle = await load(world, api, seconds)
        began = time.monotonic()
        tokens = await ask_for_cards(connection, world)
        during = await load(world, api, seconds)
        done_meanwhile = await rendered(connection, tokens)
        while (done := await rendered(connection, tokens)) < CARDS:  # another process works
            if time.monotonic() > began + GIVE_UP_SECONDS:
                break
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
    finally:
        await connection.close()
    table = Table("scenario", "idle p50", "p99", "during p50", "p99", "p50 ratio", "p99 ratio", title="latencies in ms")
    result: dict[str, Any] = {"cards": done, "cards_under_load": done_meanwhile, "seconds": round(took, 1)}
    for name in ASKED:
        before, after = in_ms(idle[name]), in_ms(during[name])
        ratios = [after[key] / before[key] for key in ("p50_ms", "p99_ms")]
        figures = [f"{said[key]:.1f}" for said in (before, after) for key in ("p50_ms", "p99_ms")]
        table.add_row(SCENARIOS[name].title, *figures, *(f"{ratio:.2f}" for ratio in ratios))
        result[name] = {
            "p50_ratio": round(ratios[0], 2),
            "p99_ratio": round(ratios[1], 2),
            "idle": before,
            "flood": after,
        }
    Console(stderr=True).print(table)
    console.print(f"{done} of {CARDS} cards drawn in {took:.0f} s, {done_meanwhile} of them under this load")
    return result


async def flood_the_renderer(world: World, renderer: str, requests: int) -> dict[str, Any]:
    """The second part: a closed loop."""
    bodies = itertools.islice((raw.partition(b"\r\n\r\n")[2] for raw in world.renders()), requests)
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=renderer, timeout=30, limits=limits) as http:

        async def ask() -> None:
            for body in bodies:
                began = time.monotonic()
                statuses[(await http.post("/render", content=body)).status_code] += 1
                latencies.append(time.monotonic() - began)

        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
        took = time.monotonic() - began
    latencies.sort()
    success = 100 * statuses[200] / requests
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    console.print(
        f"{requests} requests at concurrency {CONCURRENCY}: {success:.2f} % success (the spec's service: 98.2 %), "
        f"{requests / took:.1f}/s, p50 {p50:.2f} s, p99 {p99:.2f} s"
    )
    return {"requests": requests, "success_percent": success, "per_second": requests / took, "p50": p50, "p99": p99}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    servers = addresses()
    console.print("making users, lists, tokens and shares …")
    world = await api_world.make(os.environ["POSTGRES_DSN"], servers["api"])
    warm = [Load(name, servers["api"], WARM_UP_RATE, ALONE[name].made(world)) for name in ("view", "add")]
    await run(warm, arguments.seconds / 2)
    result = await flood_the_topic(world, servers["api"], arguments.seconds)
    return {**result, "renderer": await flood_the_renderer(world, servers["renderer"], arguments.requests)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="length of each load on the API")
    parser.add_argument("--requests", type=int, default=5_000, help="requests against the renderer")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    result = uvloop.run(measure(arguments))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
