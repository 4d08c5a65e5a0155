"""A replay as the operator sees it: what it will do, how far it is, what it found."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from clients import logs
from config.settings import KafkaSettings, PostgresSettings, StreamSettings, load
from ops.outages import notices, outages_told
from ops.replay.job import Job, Refused, Replays
from ops.replay.lane import Lanes, Pace, ReplayStopped
from ops.replay.plan import BadStart, Start
from ops.replay.rebuild import Difference, ShadowFault
from streams.application import spare_records_the_collector

console = Console()
# What a shell says of a command that Ctrl-C has ended.
_INTERRUPTED = 128 + 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the operator said, see :func:`ops.replay.command.replay`."""

    sink: str
    start: str
    yes: bool
    dry_run: bool
    rate: float
    resume: bool
    rebuild: bool
    workers: int
    again: bool
    as_json: bool


def run(options: Options) -> None:
    """``wishlist replay``. Exit codes: 1 if it could not be done, 2 if it was refused, 130 after Ctrl-C."""
    # The bar says how far it is; the engine's word on each batch would only break it up.
    logs.configure("replay", "WARNING")
    logs.librdkafka.setLevel(logging.CRITICAL)
    spare_records_the_collector()
    session = _Session(options)
    try:
        with outages_told("PostgreSQL"):
            uvloop.run(session.run())
    except BadStart:
        session.leave(
            2,
            "refused",
            f"--from: {options.start!r} is no moment and no offsets. Write earliest, 2026-11-01T09:00 or 0:1200,3:50.",
        )
    except Refused as error:
        session.leave(2, "refused", str(error))
    except (ReplayStopped, ShadowFault) as error:
        session.leave(1, "stopped", f"The replay has stopped: {error}.")
    except KeyboardInterrupt:
        session.leave(_INTERRUPTED, "interrupted", "The replay was ended early.")
    session.leave(0, session.status, "")


class _Session:
    """One replay, and what is known of it so far."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._job: Job | None = None
        self._replays: Replays | None = None
        self._differences: list[Difference] = []
        self._seconds: float | None = None
        # What there is to go on with.
        self._is_begun = options.resume
        self.status = "planned"

    async def run(self) -> None:
        """Until all of it is read."""
        options, postgres = self._options, load(PostgresSettings)
        connection = await asyncpg.connect(postgres.dsn, timeout=5)
        try:
            replays = Replays(connection, load(KafkaSettings), postgres, load(StreamSettings), options.workers)
            self._replays = replays
            if options.resume:
                job = await replays.unfinished(options.sink)
            else:
                start, now = Start.parse(options.start), datetime.now(UTC)
                job = await replays.plan(options.sink, start, now, again=options.again, rebuilds=options.rebuild)
            self._job = job
            if not options.as_json:
                _show(job, options.rate)
            if options.dry_run or not job.records:
                return
            self._ask()
            await replays.claim(job)
            if not options.resume:
                await replays.begin(job)
            self._is_begun = True
            await self._read(replays, job)
        finally:
            await connection.close()

    def _ask(self) -> None:
        if self._options.yes:
            return
        if self._options.as_json or not sys.stdin.isatty():
            raise Refused("--yes: nobody can be asked here: say --yes, or look first with --dry-run")
        if not typer.confirm("Go on?"):
            raise typer.Exit(1)

    async def _read(self, replays: Replays, job: Job) -> None:
        began = time.monotonic()
        with LaneBar(job.records, notices if self._options.as_json else console) as watch:
            self._differences = await replays.run(job, Pace(self._options.rate), watch.follow)
        self._seconds = time.monotonic() - began
        self.status = "done"
        if self._options.as_json:
            return
        console.print(f"{job.records:,} records in {self._seconds:.1f} s, {job.records / self._seconds:,.0f}/s")
        if replays.refused:
            verb = "was" if replays.refused == 1 else "were"
            console.print(
                f"[yellow]{replays.refused:,} of the records {verb} refused[/]: dead letters, see wishlist dlq list"
            )
        if job.rebuilds:
            _tell(self._differences)

    def leave(self, code: int, status: str, why: str) -> None:
        """Say what is to be said at the end."""
        if code and self._is_begun and status in ("stopped", "interrupted"):
            why = f"{why} wishlist replay {self._options.sink} --resume goes on with it."
        if why:
            notices.print(why, style="red")
        if self._options.as_json:
            typer.echo(json.dumps(self._as_json(status, why), indent=2, default=str))
        raise typer.Exit(code) from None

    def _as_json(self, status: str, why: str) -> dict[str, Any]:
        said: dict[str, Any] = {"status": status, "sink": self._options.sink, "reason": why or None}
        if (job := self._job) is not None:
            records: Counter[str] = Counter()
            for stretch in job.stretches:
                records[stretch.topic] += stretch.records
            said |= {
                "replay": job.id,
                "rebuilds": job.rebuilds,
                "records": job.records,
                "topics": dict(records),
                "archived": job.archived.records if job.archived else 0,
                "refused": self._replays.refused if self._replays else 0,
                "seconds": self._seconds,
                "differences": [asdict(one) for one in self._differences],
            }
        return said


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

    def __init__(self, records: int, on: Console = console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._bar = Progress(*columns, TimeRemainingColumn(), console=on)
        self._records = records
        self._task: TaskID | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._lanes: Lanes | None = None
        self._before = 0

    def __enter__(self) -> LaneBar:
        self._bar.start()
        self._task = self._bar.add_task("reading", total=self._records, rate="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._ticker:
            self._ticker.cancel()
        if self._task is not None and self._lanes is not None:
            done = self._before + self._lanes.done
            # All that there was is read, also where a rebuild has read more than it was to at first.
            total = max(self._records, done) if kind else done
            self._bar.update(self._task, completed=done, total=total, description="read" if kind is None else "ended")
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
