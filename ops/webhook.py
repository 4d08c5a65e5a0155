"""``wishlist webhook``: the shop's own, which hears of everybody's shares."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console

from clients import webhooks
from clients.webhook_call import BadUrl, check_url
from config.settings import PostgresSettings, WebhookSettings, load
from ops.outages import outages_told

app = typer.Typer(
    add_completion=False, help="The shop's own webhook: it is told of the events of all shares.", no_args_is_help=True
)
console = Console(soft_wrap=True, highlight=False)
_THE_SHOP = None


@app.command(name="set")
def set_webhook(
    url: Annotated[str, typer.Argument(help="An https URL at a public address.")],
    rotate_secret: Annotated[bool, typer.Option(help="Make a new secret; for a day both sign.")] = False,
) -> None:
    """Have URL called. One that was disabled is called again."""
    try:
        check_url(url, load(WebhookSettings))
    except BadUrl as error:
        console.print(f"[red]URL {error.problem}.[/] {error.remedy}")
        raise typer.Exit(1) from None
    secret = webhooks.new_secret()
    row = _row(webhooks.SET, url, secret, rotate_secret)
    assert row is not None
    _print(row)
    if row["secret"] == secret:
        console.print(f"secret: {secret} (it is not shown again)")


@app.command()
def show() -> None:
    """What is called, and how it does."""
    row = _row(webhooks.SHOW)
    if row is None:
        console.print("there is no webhook of the shop")
    else:
        _print(row)


@app.command()
def remove() -> None:
    """No more calls, not even about what has happened already."""
    _row(webhooks.REMOVE)
    console.print("the shop has no webhook")


def _print(row: asyncpg.Record) -> None:
    for name, value in webhooks.described(row).items():
        if value is not None:
            console.print(f"{name.replace('_', ' ')}: {value}", markup=False)


def _row(statement: str, *arguments: Any) -> asyncpg.Record | None:
    async def run() -> asyncpg.Record | None:
        connection = await asyncpg.connect(load(PostgresSettings).dsn, timeout=5)
        try:
            return await connection.fetchrow(statement, _THE_SHOP, *arguments)
        finally:
            await connection.close()

    with outages_told("PostgreSQL"):
        return asyncio.run(run())
