"""What BigQuery holds before the first event: the dataset, its tables with every column, its views."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from clients.bigquery import SCHEMAS, Warehouse, WarehouseError

# Partitioned by the first, clustered by the others.
TABLES = {"share_events": ("event_date", "event_type", "share_id")}


def prepare(warehouse: Warehouse) -> Iterator[str]:
    """See to all of it, and say what was not there yet. Columns are added, never changed or taken away.

    Raises :class:`clients.bigquery.WarehouseError`.
    """
    try:
        yield from _prepare(warehouse)
    except (GoogleAPICallError, GoogleAuthError, OSError) as error:
        raise WarehouseError(f"{type(error).__name__}: {error}") from error


def _prepare(warehouse: Warehouse) -> Iterator[str]:
    try:
        warehouse.rest.get_dataset(warehouse.dataset)
    except NotFound:
        dataset = bigquery.Dataset(warehouse.dataset)
        dataset.location = warehouse.settings.location
        dataset.description = "Shared wishlists: what happened, from the topic wishlist.social.events."
        warehouse.rest.create_dataset(dataset)
        yield f"made dataset {warehouse.dataset}"
    for name in TABLES:
        yield from _table(warehouse, name)
    for file in sorted((SCHEMAS / "views").glob("*.sql")):
        yield from _view(warehouse, file.stem, file.read_text(encoding="utf-8"))


def _table(warehouse: Warehouse, name: str) -> Iterator[str]:
    wanted = warehouse.schema(name)
    try:
        table = warehouse.rest.get_table(f"{warehouse.dataset}.{name}")
    except NotFound:
        table = bigquery.Table(f"{warehouse.dataset}.{name}", schema=wanted)
        partition, *clusters = TABLES[name]
        table.time_partitioning = bigquery.TimePartitioning(field=partition)
        table.clustering_fields = clusters
        warehouse.rest.create_table(table)
        yield f"made table {name}"
        return
    held = {column.name for column in table.schema}
    added = [column for column in wanted if column.name not in held]
    if added:
        table.schema = [*table.schema, *added]
        warehouse.rest.update_table(table, ["schema"])
        yield f"added {', '.join(column.name for column in added)} to {name}"


def _view(warehouse: Warehouse, name: str, source: str) -> Iterator[str]:
    """Put the view of *source* in place of whatever is there under its name."""
    full_name = f"{warehouse.dataset}.{name}"
    try:
        warehouse.rest.get_table(full_name)
    except NotFound:
        yield f"made view {name}"
    comment = " ".join(line.removeprefix("-- ") for line in source.splitlines() if line.startswith("--"))
    options = f"OPTIONS (description = {json.dumps(comment)})"
    warehouse.query(f"CREATE OR REPLACE VIEW `{full_name}`\n{options} AS\n{source.format(dataset=warehouse.dataset)}")
