"""``wishlist archive``: what the archive holds, and whether it is whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings, load
from ops.outages import outages_told
from schemas.archive import DamagedFile
from sinks.archive import GROUP
from sinks.archive_files import ArchiveReader

app = typer.Typer(add_completion=False, help="The events topic beyond its 30 days.", no_args_is_help=True)
console = Console()
T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

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
def list_days(json_: AsJson = False) -> None:
    """Say how much there is of each day."""

    async def work() -> list[dict[str, Any]]:
        pool = await Database(load(PostgresSettings)).pool()
        return [dict(row) for row in await pool.fetch(_DAYS, GROUP)]

    days = _run(work())
    if json_:
        typer.echo(json.dumps({"days": days}, indent=2, default=str))
        return
    table = Table("topic", "day (UTC)", "files", "events", "erased since", "MB", box=None)
    for day in days:
        numbers = (f"{day[name]:,}" for name in ("files", "events", "erased"))
        table.add_row(day["topic"], str(day["day"]), *numbers, f"{day['bytes'] / 1e6:,.1f}")
    console.print(table)


@app.command()
def verify(
    since: Annotated[datetime | None, typer.Option(help="Read files of that time on (UTC) only.")] = None,
    json_: AsJson = False,
) -> None:
    """Read every file, and say what is missing, damaged, or not accounted for."""

    async def work() -> list[str]:
        database, store = Database(load(PostgresSettings)), ObjectStore(load(ObjectStoreSettings))
        found = []
        async for fault in faults_of(database, store, GROUP, since):
            found.append(fault)
            if not json_:
                console.print(fault, style="red", markup=False)
        return found

    faults = _run(work())
    if json_:
        typer.echo(json.dumps({"whole": not faults, "faults": faults}, indent=2))
    if faults:
        raise typer.Exit(1)
    if not json_:
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
    with outages_told("PostgreSQL"):
        return asyncio.run(work)
