"""``wishlist``: the operator's command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import asyncpg
import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from clients import breaker_board
from clients.objects import ObjectStore, ObjectStoreError
from clients.queue import QueueError
from config.settings import (
    AuthSettings,
    KafkaSettings,
    ObjectStoreSettings,
    PostgresSettings,
    QueueSettings,
    RedisSettings,
    SweepSettings,
    WarehouseSettings,
    load,
)
from ops import archive, bucket, ledger, migrations, queue, topics, webhook
from ops import seed as development_data
from ops.dashboard import dashboard
from ops.dead_letters import retention
from ops.dead_letters.command import dlq
from ops.doctor.command import doctor
from ops.erasure.command import delete, erase
from ops.replay.command import replay
from ops.simulation.command import simulate
from ops.tokens import NoSigningKey, signer
from streams import preview_sweep

app = typer.Typer(help="Operate wishlist-social.", no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()
T = TypeVar("T")
app.command()(simulate)
app.command()(dashboard)
app.command()(replay)
app.command()(doctor)
app.add_typer(webhook.app, name="webhook")
app.add_typer(dlq, name="dlq")
app.add_typer(archive.app, name="archive")
app.command()(erase)
app.command()(delete)


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


@app.command()
def migrate() -> None:
    """Bring PostgreSQL to the newest schema, and bucket and warehouse to what they must hold."""
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
    # Loaded where they are wanted only: Google's libraries take a second.
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


@app.command()
def sweep() -> None:
    """Give up the pictures of shares that nobody viewed and of shares long expired, as the preview agent does daily."""
    settings = load(SweepSettings)

    async def work(connection: asyncpg.Connection) -> dict[str, int]:
        return await preview_sweep.sweep(connection, settings)

    for reason, count in _with_postgres(work).items():
        console.print(f"{count} pictures {reason}")


@app.command()
def rollback(above: Annotated[int, typer.Option(help="Undo migrations with a greater number.")]) -> None:
    """Undo migrations, newest first."""

    async def work(connection: asyncpg.Connection) -> list[migrations.Migration]:
        return await migrations.rollback(connection, above)

    for step in _with_postgres(work):
        console.print(f"rolled back {step.number:03d} {step.name}")


@app.command(name="ledger")
def maintain_ledger() -> None:
    """Make the ledger's partitions of the coming weeks and drop old ones: once a day, or at least every four weeks.

    Dead letters that are older than 90 days go too.
    """

    async def work(connection: asyncpg.Connection) -> tuple[ledger.Upkeep, int]:
        now = datetime.now(UTC)
        return await ledger.maintain(connection, now), await retention.remove_old(connection, now)

    done, letters = _with_postgres(work)
    for name in done.made:
        console.print(f"made {name}")
    for name in done.dropped:
        console.print(f"dropped {name}")
    console.print(f"{done.moved} rows moved into partitions, {done.removed} old rows removed")
    console.print(f"{letters} old dead letters removed")


@app.command(name="documents")
def write_documents() -> None:
    """Write the generated pages of docs/ anew."""
    from ops import documents

    for name, page in documents.PAGES.items():
        (documents.DOCS / name).write_text(page())
        console.print(f"docs/{name}")


@app.command()
def seed() -> None:
    """Write the development data of the spec's traces."""
    _with_postgres(development_data.seed)
    console.print("development data is there")


@app.command(name="topics")
def create_topics() -> None:
    """Create the Kafka topics that are missing, and report settings that differ."""
    for line in topics.ensure(load(KafkaSettings)):
        console.print(line)


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="The user's public id, e.g. user_maya.")],
    minutes: Annotated[int, typer.Option(help="How long the token is good.")] = 60,
) -> None:
    """Print a JWT for a user, signed with the development key."""
    try:
        typer.echo(signer(load(AuthSettings), minutes)(user))
    except NoSigningKey as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None


@app.command()
def previews(
    static: Annotated[
        bool, typer.Option("--static/--live", help="Serve only the generic picture, or render again what has waited.")
    ],
) -> None:
    """Switch the rendering of previews off and on."""

    async def switch() -> None:
        async with Redis.from_url(load(RedisSettings).url, socket_connect_timeout=5) as redis:
            await (breaker_board.force_open(redis) if static else breaker_board.unforce(redis))

    try:
        asyncio.run(switch())
    except (RedisError, OSError) as error:
        console.print(f"[red]Redis cannot be reached: {error}; see REDIS_URL[/]")
        raise typer.Exit(1) from None
    console.print("new shares get the generic picture" if static else "pictures are rendered")


if __name__ == "__main__":
    app()
