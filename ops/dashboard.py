"""``wishlist dashboard``."""

from __future__ import annotations

import asyncio
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from clients.faults import Unavailable
from config.settings import DashboardSettings, PostgresSettings, WarehouseSettings, load

if TYPE_CHECKING:
    from clients.bigquery import Warehouse

console = Console()


def dashboard(
    out: Annotated[Path, typer.Option(help="The file that is written.")] = Path("dashboard.html"),
    days: Annotated[int | None, typer.Option(min=1, max=366, help="How many days it shows.")] = None,
    until: Annotated[datetime | None, typer.Option(help="The last of them, UTC; today by default.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Make the dashboard as one HTML file, out of BigQuery, and say what is in it."""
    # Loaded where they are wanted only: Google's libraries take a second.
    from analytics import words
    from analytics.dashboard import render
    from analytics.report import Span, read
    from clients.bigquery import RowsRefused, Warehouse

    warehouse = Warehouse(load(WarehouseSettings))
    span = Span.of((until or datetime.now(UTC)).date(), days or load(DashboardSettings).days)
    try:
        with console.status("asking BigQuery"):
            asyncio.run(_refresh(warehouse))
            report = read(warehouse, span)
    except (Unavailable, RowsRefused, OSError, asyncpg.PostgresError) as error:
        console.print(
            f"[red]The figures cannot be read:[/] {error}. See BIGQUERY_PROJECT, BIGQUERY_ENDPOINT, ./run up."
        )
        raise typer.Exit(1) from None
    try:
        out.write_text(render(report), encoding="utf-8")
    except OSError as error:
        console.print(f"[red]--out: {out} cannot be written:[/] {error.strerror}")
        raise typer.Exit(1) from None
    table = Table("metric", "value", "against before", "", title=words.span(span), title_justify="left", box=None)
    for metric in words.metrics(report):
        table.add_row(metric.name, metric.value, "" if metric.change is None else metric.change_words, metric.note)
    console.print(table)
    for headline in words.headlines(report).values():
        console.print(f"· {headline}", highlight=False)
    console.print(f"{out} ({out.stat().st_size // 1024} KB), made for light, dark and paper")
    if show:
        webbrowser.open(out.resolve().as_uri())


async def _refresh(warehouse: Warehouse) -> None:
    """Have the catalogue's names of today."""
    from clients.postgres import Database
    from streams.bigquery.reference_tables import ReferenceTables

    await ReferenceTables(Database(load(PostgresSettings)), warehouse).refresh()
