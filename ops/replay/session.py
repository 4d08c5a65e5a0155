"""A replay as the operator sees it: what it will do, how far it is, what it found."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import asyncpg
import typer
import uvloop
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from clients import logs
from config.settings import KafkaSettings, PostgresSettings, StreamSettings, load
from ops.replay.job import Job, Refused, Replays
from ops.replay.lane import Lanes, Pace, ReplayStopped
from ops.replay.plan import BadStart, Start
from ops.replay.rebuild import Difference, ShadowFault
from streams.application import spare_records_the_collector

console = Console()


def run(
    sink: str, start: str, yes: bool, dry_run: bool, rate: float, resume: bool, rebuild: bool, workers: int, again: bool
) -> None:
    """``wishlist replay`` with its options; leaves with 1 where it could not be done, with 2 where it was refused."""
    try:
        # The bar says how far it is; the engine's word on each batch would only break it up.
        logs.configure("replay", "WARNING")
        spare_records_the_collector()
        uvloop.run(_replay(sink, start, yes, dry_run, rate, resume, rebuild, workers, again))
    except BadStart:
        _refuse(f"--from: {start!r} is no moment and no offsets. Write earliest, 2026-11-01T09:00 or 0:1200,3:50.")
    except Refused as error:
        _refuse(str(error))
    except (ReplayStopped, ShadowFault) as error:
        console.print(f"[red]The replay has stopped:[/] {error}. wishlist replay {sink} --resume goes on with it.")
        raise typer.Exit(1) from None
    except KafkaException as error:
        console.print(f"[red]Kafka cannot be asked:[/] {error}. Check KAFKA_BOOTSTRAP_SERVERS; ./run up starts one.")
        raise typer.Exit(1) from None
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        console.print(f"[red]PostgreSQL cannot be reached:[/] {error}. Check POSTGRES_DSN; ./run up starts one.")
        raise typer.Exit(1) from None


def _refuse(why: str) -> None:
    console.print(f"[red]{why}[/]")
    raise typer.Exit(2) from None


async def _replay(
    sink: str, start: str, yes: bool, dry_run: bool, rate: float, resume: bool, rebuild: bool, workers: int, again: bool
) -> None:
    postgres = load(PostgresSettings)
    connection = await asyncpg.connect(postgres.dsn, timeout=5)
    try:
        replays = Replays(connection, load(KafkaSettings), postgres, load(StreamSettings), workers)
        if resume:
            job = await replays.unfinished(sink)
        else:
            now = datetime.now(UTC)
            job = await replays.plan(sink, Start.parse(start), now, again=again, rebuilds=rebuild)
        _show(job, rate)
        if dry_run or not job.records:
            return
        if not yes and not typer.confirm("Go on?"):
            raise typer.Exit(1)
        await replays.claim(job)
        if not resume:
            await replays.begin(job)
        began = time.monotonic()
        with LaneBar(job.records) as watch:
            differences = await replays.run(job, Pace(rate), watch.follow)
        seconds = time.monotonic() - began
        console.print(f"{job.records:,} records in {seconds:.1f} s, {job.records / seconds:,.0f}/s")
        if job.rebuilds:
            _tell(differences)
    finally:
        await connection.close()


def _show(job: Job, rate: float) -> None:
    table = Table(title=f"replay {job.id}", title_justify="left")
    for column in ("topic", "partitions", "records"):
        table.add_column(column, justify="left" if column == "topic" else "right")
    partitions: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for stretch in job.stretches:
        partitions[stretch.topic] += 1
        records[stretch.topic] += stretch.records
    if job.archived is not None:
        table.add_row("the archive", "", f"{job.archived.records:,}")
    for topic, count in records.items():
        table.add_row(topic, str(partitions[topic]), f"{count:,}")
    console.print(table)
    way = "a new store beside the live one, which it then replaces" if job.rebuilds else f"the sink of {job.sink}"
    console.print(
        f"{job.records:,} records into {way}; at {rate:,.0f}/s at most that takes {job.records / rate:,.0f} s"
    )


def _tell(differences: list[Difference]) -> None:
    table = Table(title="what the live store did not say", title_justify="left")
    table.add_column("table")
    for column in ("rows missing", "rows changed", "rows too many"):
        table.add_column(column, justify="right")
    for one in differences:
        table.add_row(one.table, f"{one.missing:,}", f"{one.changed:,}", f"{one.surplus:,}")
    console.print(table)


class LaneBar:
    """A progress bar that follows some lanes after others."""

    def __init__(self, records: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self._records = records
        self._task: TaskID | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._lanes: Lanes | None = None
        self._before = 0

    def __enter__(self) -> LaneBar:
        self._bar.start()
        self._task = self._bar.add_task("reading", total=self._records, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._ticker:
            self._ticker.cancel()
        self._bar.stop()

    def follow(self, lanes: Lanes) -> None:
        """Show *lanes* from now on."""
        if self._ticker:
            self._ticker.cancel()
        self._before += self._lanes.done if self._lanes else 0
        self._lanes = lanes
        self._ticker = asyncio.create_task(self._tick(lanes))

    async def _tick(self, lanes: Lanes) -> None:
        assert self._task is not None
        while True:
            what = f"waiting: {lanes.waiting}" if lanes.waiting else "reading"
            speed = self._bar.tasks[0].speed
            done = self._before + lanes.done
            self._bar.update(
                self._task, completed=done, total=max(self._records, done), description=what[:60],
                rate=f"{speed:,.0f}/s" if speed else "",
            )  # fmt: skip
            await asyncio.sleep(0.2)
