"""``wishlist``: the operator's command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import asyncpg
import jwt
import typer
from rich.console import Console

from config.settings import AuthSettings, KafkaSettings, PostgresSettings, load
from ops import migrations, topics
from ops import seed as development_data

app = typer.Typer(help="Operate wishlist-social.", no_args_is_help=True, pretty_exceptions_enable=False)
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


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    done = _with_postgres(migrations.migrate)
    for step in done:
        console.print(f"applied {step.number:03d} {step.name}")
    if not done:
        console.print("the schema is up to date")


@app.command()
def rollback(above: Annotated[int, typer.Option(help="Undo migrations with a greater number.")]) -> None:
    """Undo migrations, newest first."""

    async def work(connection: asyncpg.Connection) -> list[migrations.Migration]:
        return await migrations.rollback(connection, above)

    for step in _with_postgres(work):
        console.print(f"rolled back {step.number:03d} {step.name}")


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
    settings = load(AuthSettings)
    if settings.private_key_file is None:
        console.print("[red]JWT_PRIVATE_KEY_FILE is not set.[/] ./run up makes a development key and sets it.")
        raise typer.Exit(1)
    now = int(time.time())
    claims = {"sub": user, "iss": settings.issuer, "aud": settings.audience, "iat": now, "exp": now + 60 * minutes}
    typer.echo(jwt.encode(claims, Path(settings.private_key_file).read_text(), algorithm="RS256"))


if __name__ == "__main__":
    app()
