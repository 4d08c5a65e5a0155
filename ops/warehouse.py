"""What BigQuery holds before the first event: the dataset, its tables with every column, its views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY

from clients.bigquery import SCHEMAS, Warehouse
from clients.faults import Unavailable


@dataclass(frozen=True)
class Layout:
    """How a table lies: clustered, and where it is large in partitions by day, of which a query must name some."""

    clusters: tuple[str, ...]
    partition: str | None = None


TABLES = {
    "share_events": Layout(("event_type", "share_id"), "event_date"),
    "segment_messages": Layout(("event", "share_id"), "event_date"),
    "product_versions": Layout(("product_id",)),
    "user_counts": Layout(("country",)),
}
_REFERENCE = re.compile(r"`\{dataset\}\.(\w+)`")


@dataclass(frozen=True)
class View:
    """A query under ``schemas/bigquery/``. The lines of comment at its top say what it counts."""

    name: str
    source: str
    is_materialized: bool

    @property
    def comment(self) -> str:
        """What it counts."""
        lines = [line.removeprefix("-- ") for line in self.source.splitlines() if line.startswith("--")]
        return " ".join(lines)

    @property
    def fingerprint(self) -> str:
        """What tells this definition from another one, as a label of BigQuery may be spelt."""
        return sha256(self.source.encode()).hexdigest()[:32]

    def query(self, dataset: str) -> str:
        """Its SQL, over *dataset*."""
        return self.source.replace("{dataset}", dataset)


def views() -> list[View]:
    """Every view, each after those that it reads."""
    found: dict[str, View] = {}
    for folder in (SCHEMAS / "views", SCHEMAS / "materialized"):
        for file in folder.glob("*.sql"):
            found[file.stem] = _read(file)
    reads = {name: sorted(set(_REFERENCE.findall(view.source)) & found.keys()) for name, view in sorted(found.items())}
    return [found[name] for name in TopologicalSorter(reads).static_order()]


def _read(file: Path) -> View:
    return View(file.stem, file.read_text(encoding="utf-8"), file.parent.name == "materialized")


def prepare(warehouse: Warehouse) -> Iterator[str]:
    """See to all of it, and say what was not there yet. Columns are added, never changed or taken away.

    Raises :class:`clients.faults.Unavailable`.
    """
    try:
        yield from _prepare(warehouse)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise Unavailable("BigQuery", f"{type(error).__name__}: {error}") from error


def _prepare(warehouse: Warehouse) -> Iterator[str]:
    try:
        warehouse.rest.get_dataset(warehouse.dataset, **_within(warehouse))
    except NotFound:
        dataset = bigquery.Dataset(warehouse.dataset)
        dataset.location = warehouse.settings.location
        dataset.description = "Shared wishlists: what happened, from the topic wishlist.social.events."
        warehouse.rest.create_dataset(dataset, **_within(warehouse))
        yield f"made dataset {warehouse.dataset}"
    for name in TABLES:
        yield from _table(warehouse, name)
    for view in views():
        yield from _view(warehouse, view)


def _within(warehouse: Warehouse) -> dict[str, Any]:
    """Google's own tries last ten minutes; the same ones, within our limit."""
    seconds = warehouse.settings.timeout_seconds
    return {"timeout": seconds, "retry": DEFAULT_RETRY.with_timeout(seconds)}


def new_table(warehouse: Warehouse, name: str, like: str) -> bigquery.Table:
    """A table *name* with columns and layout of *like*, yet to be made."""
    table = bigquery.Table(f"{warehouse.dataset}.{name}", schema=warehouse.schema(like))
    layout = TABLES[like]
    if layout.partition is not None:
        table.time_partitioning = bigquery.TimePartitioning(field=layout.partition)
        table.require_partition_filter = True
    table.clustering_fields = list(layout.clusters)
    return table


def _table(warehouse: Warehouse, name: str) -> Iterator[str]:
    wanted = warehouse.schema(name)
    try:
        table = warehouse.rest.get_table(f"{warehouse.dataset}.{name}", **_within(warehouse))
    except NotFound:
        warehouse.rest.create_table(new_table(warehouse, name, name), **_within(warehouse))
        yield f"made table {name}"
        return
    held = {column.name for column in table.schema}
    added = [column for column in wanted if column.name not in held]
    if added:
        table.schema = [*table.schema, *added]
        warehouse.rest.update_table(table, ["schema"], **_within(warehouse))
        yield f"added {', '.join(column.name for column in added)} to {name}"


def _view(warehouse: Warehouse, view: View) -> Iterator[str]:
    """Put *view* in place of whatever else is there under its name; one that is as it must be stays."""
    full_name = f"{warehouse.dataset}.{view.name}"
    table = bigquery.Table(full_name)
    table.labels = {"definition": view.fingerprint}
    table.description = view.comment
    try:
        is_there = True
        if warehouse.rest.get_table(table, **_within(warehouse)).labels == table.labels:
            return
    except NotFound:
        is_there = False
    query = view.query(warehouse.dataset)
    if view.is_materialized:
        warehouse.rest.delete_table(table, not_found_ok=True, **_within(warehouse))
        # By REST the emulator makes one that stays empty.
        warehouse.query(f"CREATE MATERIALIZED VIEW `{full_name}` AS\n{query}")
        warehouse.rest.update_table(table, ["description", "labels"], **_within(warehouse))
    else:
        table.view_query = query
        if is_there:
            warehouse.rest.update_table(table, ["view_query", "description", "labels"], **_within(warehouse))
        else:
            warehouse.rest.create_table(table, **_within(warehouse))
    yield f"{'renewed' if is_there else 'made'} view {view.name}"
