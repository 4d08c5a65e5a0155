"""What the views join to: the shop's catalogue and its users by country, out of PostgreSQL once an hour.

Only what has changed since is written, as a new row with the time it was found; the views ``products`` and
``users_by_country`` show the last row of each. So a refresh that is cut short, or done twice, does no harm: the next
one compares again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.bigquery import RowsRefused, Warehouse, WarehouseError
from clients.bigquery_rows import RowFormat
from clients.logs import get_logger
from clients.postgres import FAULTS, Database

_RETRY_SECONDS = 60.0
# An append may have 10 MB.
_ROWS_AT_ONCE = 10_000
_LOCK = "SELECT pg_try_advisory_lock(hashtext('warehouse reference tables'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('warehouse reference tables'))"


@dataclass(frozen=True)
class Reference:
    """A table of versions: what PostgreSQL has now, the view that shows what BigQuery had last, and the key of both.

    ``gone`` are the values of a row whose key PostgreSQL has no more.
    """

    table: str
    view: str
    key: str
    query: str
    gone: Mapping[str, Any]


REFERENCES = (
    Reference(
        "product_versions",
        "products",
        "product_id",
        """SELECT id AS product_id, name AS product_name, price, currency, in_stock, false AS is_removed
           FROM products""",
        {"is_removed": True},
    ),
    Reference(
        "user_counts",
        "users_by_country",
        "country",
        "SELECT coalesce(country, '') AS country, count(*) AS users FROM users GROUP BY 1",
        {"users": 0},
    ),
)


async def refresh(connection: asyncpg.Connection | PoolConnectionProxy, warehouse: Warehouse) -> dict[str, int]:
    """Write what has changed; how many rows of which table. Nothing where another worker is at it.

    Raises :class:`clients.bigquery.WarehouseError`.
    """
    if not await connection.fetchval(_LOCK):
        return {}
    try:
        return {reference.table: await _refresh(connection, warehouse, reference) for reference in REFERENCES}
    finally:
        await connection.fetchval(_UNLOCK)


async def _refresh(
    connection: asyncpg.Connection | PoolConnectionProxy, warehouse: Warehouse, reference: Reference
) -> int:
    now = {row[reference.key]: dict(row) for row in await connection.fetch(reference.query)}
    found = await asyncio.to_thread(warehouse.query, f"SELECT * FROM `{warehouse.dataset}.{reference.view}`")
    then = {row[reference.key]: row for row in found}
    for row in then.values():
        del row["changed_at"]
    changed = [row for key, row in now.items() if row != then.get(key)]
    changed += [{**row, **reference.gone} for key, row in then.items() if key not in now]
    changed = [row for row in changed if row != then.get(row[reference.key])]
    if changed:
        at = datetime.now(UTC)
        rows = [{"changed_at": at, **row} for row in changed]
        await asyncio.to_thread(_append, warehouse, reference.table, rows)
    return len(changed)


def _append(warehouse: Warehouse, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    form = RowFormat(warehouse.schema(table))
    stream = warehouse.open_stream(table)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        warehouse.append(stream, [form.encode(row) for row in rows[start : start + _ROWS_AT_ONCE]], form)
    warehouse.finish(stream.name)


class ReferenceTables:
    """Refreshes them when the worker starts, and once an hour from then on."""

    def __init__(self, database: Database, warehouse: Warehouse) -> None:
        self._database = database
        self._warehouse = warehouse

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                pool = await self._database.pool()
                async with pool.acquire() as connection:
                    written = await refresh(connection, self._warehouse)
                metrics.REFERENCE_REFRESHED.set_to_current_time()
                get_logger().info("reference tables refreshed", **written)
                await asyncio.sleep(self._warehouse.settings.reference_seconds)
            except (*FAULTS, WarehouseError, RowsRefused) as error:
                get_logger().warning("the reference tables wait", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)
