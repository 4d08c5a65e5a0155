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

from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.bigquery import Warehouse
from clients.bigquery_rows import RowFormat
from clients.logs import get_logger
from clients.postgres import Database
from streams.outbox.job_rows import JobRows
from streams.outboxes import REFERENCE_ROWS

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


class ReferenceTables:
    """Refreshes them; where another worker is at it, nothing is done."""

    def __init__(self, database: Database, warehouse: Warehouse) -> None:
        self._database = database
        self._warehouse = warehouse
        self._rows = JobRows(database, REFERENCE_ROWS)

    async def refresh(self) -> dict[str, int]:
        """Write what has changed; how many rows of which table. A row that is refused is left out.

        Raises :class:`clients.faults.Unavailable`.
        """
        async with (await self._database.pool()).acquire() as connection:
            if not await connection.fetchval(_LOCK):
                return {}
            try:
                written = {one.table: await self._refresh(connection, one) for one in REFERENCES}
            finally:
                await connection.fetchval(_UNLOCK)
        metrics.REFERENCE_REFRESHED.set_to_current_time()
        get_logger().info("reference tables refreshed", **written)
        return written

    async def _refresh(self, connection: PoolConnectionProxy, reference: Reference) -> int:
        warehouse, prefix = self._warehouse, f"{reference.table}/"
        now = {row[reference.key]: dict(row) for row in await connection.fetch(reference.query)}
        found = await asyncio.to_thread(warehouse.query, f"SELECT * FROM `{warehouse.dataset}.{reference.view}`")
        then = {row[reference.key]: row for row in found}
        for row in then.values():
            del row["changed_at"]
        changed = [row for key, row in now.items() if row != then.get(key)]
        changed += [{**row, **reference.gone} for key, row in then.items() if key not in now]
        named = {f"{prefix}{row[reference.key]}": row for row in changed if row != then.get(row[reference.key])}
        for blocked in await self._rows.blocked():
            named.pop(blocked, None)
        at = datetime.now(UTC)

        async def append(names: Sequence[str]) -> None:
            rows = [{"changed_at": at, **named[name]} for name in names]
            await asyncio.to_thread(_append, warehouse, reference.table, rows)

        return await self._rows.work(list(named), append)


def _append(warehouse: Warehouse, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    form = RowFormat(warehouse.schema(table))
    encoded = [form.encode(row) for row in rows]
    stream = warehouse.open_stream(table)
    warehouse.append(stream, encoded, form)
    warehouse.finish(stream.name)
