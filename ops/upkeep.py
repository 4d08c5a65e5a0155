"""What an operator, or a clock, has done now and then: ``wishlist migrate``, ``sweep``, ``ledger`` and the like.

Each loads what it needs only when it runs: a second of libraries is long for one who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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

console = Console()
T = TypeVar("T")


def _with_postgres(work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            connection = await asyncpg.connect(load(PostgresSettings).dsn, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            console.print(f"[red]PostgreSQL cannot be reached:[/] {error}. Check POSTGRES_DSN; ./run up starts one.")
            raise typer.Exit(1) from None
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def migrate() -> None:
    """Bring PostgreSQL to the newest schema, and bucket, queue and warehouse to what they must hold."""
    from clients.objects import ObjectStore, ObjectStoreError
    from clients.queue import QueueError
    from ops import bucket, migrations, queue

    done = [f"applied {step.number:03d} {step.name}" for step in _with_postgres(migrations.migrate)]
    for line in done or ["the schema is up to date"]:
        console.print(line)

    async def prepare() -> list[str]:
        return [line async for line in bucket.prepare(ObjectStore(load(ObjectStoreSettings)))]

    try:
        placed = asyncio.run(prepare())
    except ObjectStoreError as error:
        console.print(f"[red]The bucket cannot be reached:[/] {error}. Check R2_ENDPOINT_URL; ./run up starts one.")
        raise typer.Exit(1) from None
    for line in placed or ["the bucket is up to date"]:
        console.print(line)

    async def prepare_queue() -> list[str]:
        return [line async for line in queue.prepare(load(QueueSettings))]

    try:
        queued = asyncio.run(prepare_queue())
    except QueueError as error:
        console.print(f"[red]The queue cannot be reached:[/] {error}. Check SQS_ENDPOINT_URL; ./run up starts one.")
        raise typer.Exit(1) from None
    for line in queued or ["the queue is up to date"]:
        console.print(line)
    from clients.bigquery import Warehouse, WarehouseError
    from ops import warehouse

    try:
        made = list(warehouse.prepare(Warehouse(load(WarehouseSettings))))
    except WarehouseError as error:
        console.print(
            f"[red]BigQuery cannot be reached:[/] {error}. Check BIGQUERY_PROJECT and the credentials, or "
            "BIGQUERY_ENDPOINT; ./run up starts an emulator."
        )
        raise typer.Exit(1) from None
    for line in made or ["the warehouse is up to date"]:
        console.print(line)


def sweep() -> None:
    """Give up the pictures of shares that nobody viewed and of shares long expired, as the preview agent does daily."""
    from streams import preview_sweep

    settings = load(SweepSettings)

    async def work(connection: asyncpg.Connection) -> dict[str, int]:
        return await preview_sweep.sweep(connection, settings)

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

    Dead letters that are older than 90 days go too.
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
    console.print(f"{letters} old dead letters removed")


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
