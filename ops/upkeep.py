"""What an operator, or a clock, has done now and then: ``wishlist migrate``, ``sweep``, ``ledger`` and the like.

Each loads what it needs only when it runs: a second of libraries is long for one who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import asyncpg
import typer
from rich.console import Console

from config.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    PostgresSettings,
    QueueSettings,
    SweepSettings,
    WarehouseSettings,
    load,
)
from ops.outages import outages_told

console = Console()
T = TypeVar("T")


def _with_postgres(work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(load(PostgresSettings).dsn, timeout=5)
        try:
            return await work(connection)
        finally:
            await connection.close()

    with outages_told("PostgreSQL"):
        return asyncio.run(run())


async def _all(lines: AsyncIterator[str]) -> list[str]:
    return [line async for line in lines]


def _tell(what: str, done: list[str]) -> None:
    for line in done or [f"the {what} is up to date"]:
        console.print(line)


def migrate() -> None:
    """Bring PostgreSQL to the newest schema, and bucket, queue and warehouse to what they must hold."""
    from clients.bigquery import Warehouse
    from clients.objects import ObjectStore
    from ops import bucket, migrations, queue, warehouse

    done = _with_postgres(migrations.migrate)
    _tell("schema", [f"applied {step.number:03d} {step.name}" for step in done])
    _tell("bucket", asyncio.run(_all(bucket.prepare(ObjectStore(load(ObjectStoreSettings))))))
    _tell("queue", asyncio.run(_all(queue.prepare(load(QueueSettings)))))
    _tell("warehouse", list(warehouse.prepare(Warehouse(load(WarehouseSettings)))))


def sweep() -> None:
    """Give up the pictures of shares that nobody viewed and of shares long expired, as the preview agent does daily."""
    from clients.postgres import Database
    from streams.previews.sweep import PreviewSweep

    async def work(_: asyncpg.Connection) -> dict[str, int]:
        return await PreviewSweep(Database(load(PostgresSettings)), load(SweepSettings)).sweep()

    for reason, count in _with_postgres(work).items():
        console.print(f"{count} pictures {reason}")


def rollback(above: Annotated[int, typer.Option(help="Undo migrations with a greater number.")]) -> None:
    """Undo migrations, newest first."""
    from ops import migrations

    async def work(connection: asyncpg.Connection) -> list[migrations.Migration]:
        return await migrations.rollback(connection, above)

    for step in _with_postgres(work):
        console.print(f"rolled back {step.number:03d} {step.name}")


def ledger() -> None:
    """Make the ledger's partitions of the coming weeks and drop old ones: once a day, or at least every four weeks.

    Dead letters and parked rows that are older than 90 days go too.
    """
    from ops import ledger as partitions
    from ops.dead_letters import retention

    async def work(connection: asyncpg.Connection) -> tuple[partitions.Upkeep, int]:
        now = datetime.now(UTC)
        return await partitions.maintain(connection, now), await retention.remove_old(connection, now)

    done, letters = _with_postgres(work)
    for name in done.made:
        console.print(f"made {name}")
    for name in done.dropped:
        console.print(f"dropped {name}")
    console.print(f"{done.moved} rows moved into partitions, {done.removed} old rows removed")
    console.print(f"{letters} old dead letters and parked rows removed")


def documents() -> None:
    """Write the generated pages of docs/ anew."""
    from ops.documents import DOCS, PAGES

    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        console.print(f"docs/{name}")


def seed() -> None:
    """Write the development data of the spec's traces."""
    from ops.seed import seed as sow

    _with_postgres(sow)
    console.print("development data is there")


def topics() -> None:
    """Create the Kafka topics that are missing, and report settings that differ."""
    from ops.topics import ensure

    for line in ensure(load(KafkaSettings)):
        console.print(line)
