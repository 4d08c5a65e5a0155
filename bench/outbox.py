"""``./run bench outbox``: rows per second of the outbox worker beside the relays of before, and what a claim costs.

Gateway and receiver answer at once, in process: the time goes into claiming, handing over and noting. Ours and the
relay take turns, pair by pair, each with a fresh database of the same rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from bench.outbox_rivals.pushes import PushRelay
from bench.outbox_rivals.webhooks import WebhookRelay
from bench.side_by_side import show, spread
from clients import logs, webhooks
from clients.postgres import Database
from clients.push_gateway import Answer, PushMessage, Verdict
from clients.webhook_call import Answer as CallAnswer
from config.settings import PostgresSettings, PushSettings, WebhookSettings
from streams.outbox.outbox import Outbox
from streams.outbox.worker import OutboxWorker
from streams.pushes.sending import DeliveryOutbox
from streams.webhooks.calling import WebhookOutbox
from tests.lab import open_database

console = Console(stderr=True)
SITE = "https://vantage.com"
_USERS = """INSERT INTO users (id, public_id, display_name) SELECT md5('bench' || n)::uuid, 'bench_' || n, 'Owner'
            FROM generate_series(1, $1::int) n"""
_LOOK_SECONDS = 0.02


class Gateway:
    """A push service that takes everything at once."""

    async def send(self, message: PushMessage) -> Answer:
        """Take it."""
        return Answer(Verdict.TAKEN, "")

    async def close(self) -> None:
        """Nothing is open."""


class Caller:
    """A receiver that takes everything at once."""

    async def call(self, url: str, secrets: Sequence[str], delivery: UUID, body: str) -> CallAnswer:
        """Take it."""
        return CallAnswer(204, "")


async def fill_pushes(connection: asyncpg.Connection, rows: int) -> None:
    """Deliveries of as many pushes to devices of 500 owners."""
    await connection.execute(_USERS, 500)
    await connection.execute(
        "INSERT INTO devices (user_id, platform, token) SELECT id, 'android', public_id FROM users"
        " WHERE public_id LIKE 'bench!_%' ESCAPE '!'"
    )
    await connection.execute(
        """INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at, state, told_at)
           SELECT md5('bench' || (n % 500 + 1))::uuid, gen_random_uuid(), 1, now(), now(), 'told', now()
           FROM generate_series(1, $1::int) n""",
        rows,
        timeout=300,
    )
    await connection.execute(
        """INSERT INTO push_deliveries (push_id, device_id, due_at)
           SELECT p.id, d.id, now() - random() * interval '1 hour'
           FROM pushes p JOIN devices d ON d.user_id = p.owner_id""",
        timeout=300,
    )


async def fill_calls(connection: asyncpg.Connection, rows: int, hooks: int) -> None:
    """As many calls of *hooks* webhooks."""
    await connection.execute(_USERS, hooks)
    for row in await connection.fetch("SELECT id FROM users WHERE public_id LIKE 'bench!_%' ESCAPE '!'"):
        await connection.fetchrow(webhooks.SET, row["id"], f"{SITE}/hook", webhooks.new_secret(), False)
    await connection.execute(
        """INSERT INTO webhook_deliveries (id, webhook_id, body, happened_at, due_at)
           SELECT gen_random_uuid(), w.id, '{}', now() - interval '1 minute', now() - random() * interval '1 minute'
           FROM (SELECT id, row_number() OVER () - 1 AS n FROM webhooks) w
           JOIN generate_series(1, $1::int) r ON r % $2 = w.n""",
        rows,
        hooks,
        timeout=300,
    )


async def rate(
    fill: Callable[[asyncpg.Connection], Awaitable[object]],
    run: Callable[[Database], Coroutine[Any, Any, None]],
    table: str,
    rows: int,
) -> float:
    """Rows/s from the start of *run* until no row of *table* is due."""
    async with open_database(f"bench_{uuid4().hex[:12]}") as dsn:
        connection = await asyncpg.connect(dsn)
        await fill(connection)
        await connection.execute("VACUUM ANALYZE", timeout=600)
        database = Database(PostgresSettings(dsn=dsn))
        began = time.perf_counter()
        running = asyncio.create_task(run(database))
        while await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE state = 'due')"):
            assert not running.done(), running
            await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - began
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        taken = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE state = 'taken'")
        assert taken == rows, taken
        await connection.close()
        await (await database.pool()).close()
    return rows / seconds


def _ours(outbox: Callable[[Database], Outbox]) -> Callable[[Database], Coroutine[Any, Any, None]]:
    return lambda database: OutboxWorker(outbox(database), database).run()


async def compare(pairs: int, rows: int) -> dict[str, Any]:
    """Each kind of rows by our worker and by its relay of before, *pairs* times in turn."""
    gateway, caller, settings = Gateway(), Caller(), WebhookSettings()
    ways: Any = caller
    kinds: dict[str, Any] = {
        "pushes": (
            lambda connection: fill_pushes(connection, rows),
            "push_deliveries",
            _ours(lambda database: DeliveryOutbox(database, PushSettings(), "android", gateway, SITE)),
            lambda database: PushRelay(database, PushSettings(), "android", gateway, SITE).run(),
        )
    }
    for name, hooks in (("calls of 50 webhooks", 50), ("calls of one webhook", 1)):
        kinds[name] = (
            lambda connection, hooks=hooks: fill_calls(connection, rows if hooks > 1 else rows // 10, hooks),
            "webhook_deliveries",
            _ours(lambda _: WebhookOutbox(settings, ways)),
            lambda database: WebhookRelay(database, settings, ways).run(),
        )
    results = {}
    for name, (fill, table, ours, relay) in kinds.items():
        count = rows // 10 if name == "calls of one webhook" else rows
        rates: dict[str, list[float]] = {"ours": [], "relay": []}
        for number in range(pairs):
            for way, run in sorted((("ours", ours), ("relay", relay)), reverse=number % 2 == 1):
                rates[way].append(await rate(fill, run, table, count))
                console.print(f"{name}, {way}: {rates[way][-1]:,.0f} rows/s")
        results[name] = show(
            f"{name}, {count:,} rows", {"ours": "outbox worker", "relay": "relay of before"}, rates, "ours"
        )
    return results


async def claims(waiting: Sequence[int], tries: int) -> dict[int, float]:
    """Milliseconds of one claim of 100 deliveries while so many wait."""
    found = {}
    table = Table("rows waiting", "ms a claim of 100", title="claiming pushes")
    for rows in waiting:
        async with open_database(f"bench_{uuid4().hex[:12]}") as dsn:
            connection = await asyncpg.connect(dsn)
            await fill_pushes(connection, rows)
            await connection.execute("VACUUM ANALYZE", timeout=600)
            times = []
            for _ in range(tries):
                transaction = connection.transaction()
                await transaction.start()
                began = time.perf_counter()
                await connection.fetch(DeliveryOutbox.claim_sql, "bench", 60.0, 100, "android", 86_400.0)
                times.append(1_000 * (time.perf_counter() - began))
                await transaction.rollback()
            await connection.close()
        found[rows] = statistics.median(times)
        table.add_row(f"{rows:,}", spread(times, 1))
    Console().print(table)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--waiting", default="1000,10000,100000")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logs.configure("bench", "ERROR")
    result: dict[str, Any] = {"rates": asyncio.run(compare(arguments.pairs, arguments.rows))}
    result["claim_ms"] = asyncio.run(claims([int(rows) for rows in arguments.waiting.split(",")], 20))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
