"""``./run bench warehouse``: the BigQuery sink beside a bare Storage Write loop; then the views at a million events.

All write the same rows in the same appends, alternating, each into a table of its own. The bare loops encode and
append, one append after the other; they write nothing down and know nothing of partitions. The times of views are the
emulator's: they say which view is dear, not what BigQuery takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.writer import AppendRowsStream
from rich.console import Console
from rich.table import Table

from bench import partitions, side_by_side
from clients.bigquery import Warehouse
from clients.bigquery_rows import RowFormat
from clients.postgres import Database
from config.settings import PostgresSettings
from ops.simulation import plan, world
from ops.simulation.events import events_of
from ops.warehouse import views
from schemas.event import ShareEvent
from sinks.bigquery import ShareEventTable, row_of
from sinks.contract import Batch, Move, Partition
from tests.lab import open_database
from tests.warehouse import made_warehouse, open_warehouse

console = Console(stderr=True)
_BATCH = 500  # the spec's
_BULK = 5_000
TITLES = {
    "sink": "(a) the warehouse agent's sink",
    "bare": "(b) bare loop, a call an append",
    "stream": "(c) bare loop, Google's AppendRowsStream",
}


async def of_sink(events: Sequence[ShareEvent]) -> float:
    """Rows/s of the sink, a batch after the other."""
    name = f"bench_{uuid4().hex[:12]}"
    async with open_database(name) as dsn, open_warehouse(name) as warehouse:
        database = Database(PostgresSettings(dsn=dsn))
        sink, partition = ShareEventTable(database, name, warehouse), Partition("bench", UUID(int=1), 0)
        await sink.positions({partition: 0})
        await sink.apply(Batch((Move(partition, 0, 1),), events[:1]))
        began = time.perf_counter()
        for start in range(1, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            await sink.apply(Batch((Move(partition, start, start + len(batch)),), batch))
        rate = (len(events) - 1) / (time.perf_counter() - began)
        await (await database.pool()).close()
    return rate


Append = Callable[[types.AppendRowsRequest], object]


def of_bare_loop(
    events: Sequence[ShareEvent], connect: Callable[[Warehouse, str], tuple[Append, Callable[[], None]]]
) -> float:
    """Rows/s of Google's client alone."""
    with made_warehouse(f"bench_{uuid4().hex[:12]}") as warehouse:
        form = RowFormat(warehouse.schema("share_events"))
        stream = warehouse.open_stream("share_events").name
        schema = types.ProtoSchema(proto_descriptor=form.descriptor)
        send, close = connect(warehouse, stream)

        def append(offset: int, batch: Sequence[ShareEvent]) -> None:
            rows = types.ProtoRows(serialized_rows=[form.encode(row_of(event)) for event in batch])
            data = types.AppendRowsRequest.ProtoData(rows=rows, writer_schema=schema)
            send(types.AppendRowsRequest(write_stream=stream, offset=offset, proto_rows=data))

        append(0, events[:1])
        began = time.perf_counter()
        for start in range(1, len(events), _BATCH):
            append(start, events[start : start + _BATCH])
        rate = (len(events) - 1) / (time.perf_counter() - began)
        close()
    return rate


def a_call_each(warehouse: Warehouse, stream: str) -> tuple[Append, Callable[[], None]]:
    """An ``AppendRows`` call for each append."""
    return lambda request: list(warehouse._writer.append_rows(iter([request]))), lambda: None


def one_connection(warehouse: Warehouse, stream: str) -> tuple[Append, Callable[[], None]]:
    """Google's own ``AppendRowsStream``: one call, into which all appends go."""
    connection = AppendRowsStream(warehouse._writer, types.AppendRowsRequest(write_stream=stream))
    return lambda request: connection.send(request).result(60), connection.close


def of_views(count: int, runs: int) -> dict[str, float]:
    """Median seconds of each view over the last 28 days, or over everything where it has no days."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    people = world.make(1, count)
    took: dict[str, float] = {}
    with made_warehouse(f"bench_{uuid4().hex[:12]}") as warehouse:
        form = RowFormat(warehouse.schema("share_events"))
        stream = warehouse.open_stream("share_events")
        waiting: list[bytes] = []
        for number, event in enumerate(events_of(plan.make(1, count, end, 90, people)), start=1):
            waiting.append(form.encode(row_of(event)))
            if len(waiting) == _BULK or number == count:
                warehouse.append(stream, waiting, form)
                waiting = []
        since = date.fromordinal((end - timedelta(days=27)).toordinal())
        for view in views():
            where = "" if view.name in partitions.ALL_TIME else f" WHERE event_date >= DATE '{since}'"
            sql = f"SELECT COUNT(*) AS n FROM (SELECT * FROM `{warehouse.dataset}.{view.name}`{where})"
            seconds = [_timed(warehouse, sql) for _ in range(runs)]
            took[view.name] = statistics.median(seconds)
    return took


def _timed(warehouse: Warehouse, sql: str) -> float:
    began = time.perf_counter()
    warehouse.query(sql)
    return time.perf_counter() - began


def _show_views(took: dict[str, float], count: int) -> None:
    table = Table("view", "seconds", "reads", title=f"views at {count:,} events, emulator")
    for name, seconds in sorted(took.items(), key=lambda item: -item[1]):
        whole = name in partitions.ALL_TIME
        table.add_row(name, f"{seconds:.2f}", "all days" if whole else "the days asked for")
    Console().print(table)


def _check_partitions() -> None:
    """Each view by day must let a filter on its days through to the tables' partitions."""
    bad = {
        view.name: found
        for view in views()
        if (found := partitions.obstacles(view)) and view.name not in partitions.ALL_TIME
    }
    if bad:
        sys.exit(f"these views read days that nobody asked for: {bad}")
    console.print(f"{len(views()) - len(partitions.ALL_TIME)} views read only the days that are asked for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_001)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000, help="events under the views; 0 leaves them out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _check_partitions()
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    events = list(events_of(plan.make(2, arguments.rows, end, 14, world.make(2, arguments.rows))))
    rates: dict[str, list[float]] = {name: [] for name in TITLES}
    for run in range(arguments.runs):
        rates["sink"].append(asyncio.run(of_sink(events)))
        rates["bare"].append(of_bare_loop(events, a_call_each))
        rates["stream"].append(of_bare_loop(events, one_connection))
        console.print(f"run {run + 1}: " + ", ".join(f"{name} {of[-1]:,.0f}" for name, of in rates.items()) + " rows/s")
    result = side_by_side.show(f"{arguments.rows:,} rows, {_BATCH} each", TITLES, rates, "sink")
    if arguments.events:
        result["views_seconds"] = took = of_views(arguments.events, 3)
        _show_views(took, arguments.events)
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
