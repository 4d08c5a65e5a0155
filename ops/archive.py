"""``wishlist archive``: what the archive holds, and whether it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from clients.objects import ObjectStore, ObjectStoreError
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings, load
from schemas.archive import DamagedFile
from sinks.archive import GROUP
from sinks.archive_files import ArchiveReader

app = typer.Typer(add_completion=False, help="The events topic beyond its 30 days.", no_args_is_help=True)
console = Console()
T = TypeVar("T")

_DAYS = """
    SELECT topic, day, count(*) AS files, sum(events)::bigint AS events, sum(erased)::bigint AS erased,
           sum(bytes)::bigint AS bytes
    FROM archive_files WHERE consumer_group = $1 GROUP BY topic, day ORDER BY topic, day"""
_SPANS = """
    SELECT topic, topic_id, partition, first_offset, next_offset, events FROM archive_spans
    WHERE consumer_group = $1 ORDER BY topic_id, partition, first_offset"""
_COUNTS = """
    SELECT (SELECT coalesce(sum(events), 0) FROM archive_spans WHERE consumer_group = $1) AS settled,
           (SELECT coalesce(sum(events + erased), 0) FROM archive_files WHERE consumer_group = $1) AS listed"""


@app.command(name="list")
def list_days() -> None:
    """Say how much there is of each day."""

    async def work() -> None:
        pool = await Database(load(PostgresSettings)).pool()
        table = Table("topic", "day (UTC)", "files", "events", "erased since", "MB", box=None)
        for row in await pool.fetch(_DAYS, GROUP):
            numbers = (f"{row[name]:,}" for name in ("files", "events", "erased"))
            table.add_row(row["topic"], str(row["day"]), *numbers, f"{row['bytes'] / 1e6:,.1f}")
        console.print(table)

    _run(work())


@app.command()
def verify(
    since: Annotated[datetime | None, typer.Option(help="Read files of that time on (UTC) only.")] = None,
) -> None:
    """Read every file, and say what is missing, damaged, or not accounted for."""

    async def work() -> int:
        database, store = Database(load(PostgresSettings)), ObjectStore(load(ObjectStoreSettings))
        faults = 0
        async for fault in faults_of(database, store, GROUP, since):
            console.print(f"[red]{fault}[/]")
            faults += 1
        return faults

    if _run(work()):
        raise typer.Exit(1)
    console.print("the archive is whole: each file as it was written, each offset settled")


async def faults_of(
    database: Database, store: ObjectStore, group: str, since: datetime | None = None
) -> AsyncIterator[str]:
    """What is wrong with the archive of *group*, in words. Raises what PostgreSQL and the bucket raise."""
    reader = ArchiveReader(database, store, group)
    async for file in reader.files(since):
        try:
            events = await reader.events_of(file)
        except DamagedFile as error:
            yield str(error)
            continue
        if len(events) != file.events:
            yield f"{file.key} holds {len(events)} events, the manifest says {file.events}"
        covered = dict(zip(file.partitions, zip(file.first_offsets, file.last_offsets, strict=True), strict=True))
        for event in events:
            first, last = covered.get(event.origin.partition, (0, -1))
            if not first <= event.origin.offset <= last:
                yield f"{file.key} holds offset {event.origin.offset} of partition {event.origin.partition}"
                break
    pool = await database.pool()
    spans = await pool.fetch(_SPANS, group)
    for before, after in pairwise(spans):
        same = all(before[name] == after[name] for name in ("topic_id", "partition"))
        if same and before["next_offset"] != after["first_offset"]:
            yield (
                f"{before['topic']}[{before['partition']}]: nothing is known of the offsets from "
                f"{before['next_offset']} to {after['first_offset'] - 1}"
            )
    counts = await pool.fetchrow(_COUNTS, group)
    if counts is not None and counts["settled"] != counts["listed"]:
        yield f"{counts['settled']} events were archived, the files had {counts['listed']} of them"


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (OSError, TimeoutError, asyncpg.PostgresError, ObjectStoreError) as error:
        console.print(f"[red]The archive cannot be read:[/] {error}. See POSTGRES_DSN, R2_ENDPOINT_URL, ./run up.")
        raise typer.Exit(1) from None
