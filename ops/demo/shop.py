"""Eight weeks of a simulated shop, straight to the topics, and what analysts then see of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from analytics import words
from analytics.dashboard import render
from analytics.report import Span, read
from clients.bigquery import Warehouse
from clients.postgres import Database
from clients.registry import open_codec
from config.settings import KafkaSettings, PostgresSettings, WarehouseSettings, load
from ops.simulation import delivery, plan, world
from ops.simulation.sessions import messages_of
from streams.bigquery.reference_tables import ReferenceTables

EVENTS = 2_000
DAYS = 28
# The dashboard compares with as many days before.
_SIMULATED_DAYS = 2 * DAYS


async def open_for_weeks(connection: asyncpg.Connection, kafka: KafkaSettings, console: Console) -> None:
    """Append the weeks' events and messages. The same day's demo appends the same ones, which are known by then."""
    end = plan.default_end(datetime.now(UTC))
    people = world.make(1, EVENTS)
    story = plan.make(1, EVENTS, end, _SIMULATED_DAYS, people)
    await world.write(connection, people, end)
    with console.status("simulating"):
        events = await asyncio.to_thread(delivery.to_topic, story, kafka, open_codec(kafka), lambda _: None)
        messages = await asyncio.to_thread(
            delivery.messages_to_topic, messages_of(story, people), kafka, lambda _: None
        )
    console.print(
        f"{events:,} events of {len(story.stories):,} shares, {messages:,} messages of clients, "
        f"over {_SIMULATED_DAYS} days"
    )


async def show_dashboard(path: Path, console: Console) -> None:
    """Make the dashboard out of BigQuery, and say what is on it."""
    warehouse = Warehouse(WarehouseSettings())
    with console.status("asking BigQuery"):
        await ReferenceTables(Database(load(PostgresSettings)), warehouse).refresh()
        report = await asyncio.to_thread(read, warehouse, Span.of(datetime.now(UTC).date(), DAYS))
    table = Table("metric", words.span(report.span), "", box=None, pad_edge=False)
    for metric in words.metrics(report):
        table.add_row(metric.name, metric.value, f"[dim]{metric.note}[/]")
    console.print(table)
    for headline in words.headlines(report).values():
        console.print(f"· {headline}")
    page = render(report).encode()
    await asyncio.to_thread(path.write_bytes, page)
    console.print(f"the dashboard   {path} [dim]({len(page) // 1000} KB)[/]")
