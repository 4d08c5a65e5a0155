"""A table of BigQuery built anew: a table beside it, whose rows take the place of those that differ.

BigQuery shares no transaction with PostgreSQL. So what differs is first written down, in a table of its own, while the
live agent can append nothing, and then put right by one statement that touches nothing else. Whenever that statement
takes place, once, twice or after the rebuild was killed, it is right: what the agent appends later is not named there.

Neither renamed nor copied: a table that is renamed takes its streams and materialized views away from their names, and
rows that came in as a stream a copy may miss for as long as 90 minutes (Google's "Data manipulation language").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from clients.bigquery import Warehouse
from clients.faults import Unavailable
from clients.postgres import Database
from ops.replay.rebuild import Difference, ShadowFault
from ops.warehouse import new_table
from sinks.contract import Partition, Retry, Sink
from sinks.warehouse_table import WarehouseTable

# Comparing a table with another takes minutes where they are large.
_WITHIN_SECONDS = 3_600.0
# A rebuild that nobody came back to leaves nothing behind for ever.
_KEPT = timedelta(days=7)
_ALL_DAYS = "event_date > DATE '1970-01-01'"
_SAYS = f"""SELECT event_id, COUNT(*) AS copies, MIN(TO_JSON_STRING(t)) AS says
            FROM `{{}}` AS t WHERE {_ALL_DAYS} GROUP BY event_id"""

MakeSink = Callable[[Database, str, Warehouse, str | None], WarehouseTable[Any]]


class TableShadow:
    """See :class:`ops.replay.rebuild.Shadow`; of *table*, which *make_sink*'s sinks fill, for the replay *replay*."""

    tables = ("warehouse_appends", "warehouse_owners")

    def __init__(self, warehouse: Warehouse, table: str, make_sink: MakeSink, replay: str) -> None:
        self._warehouse = warehouse
        self._table = table
        self._make_sink = make_sink
        self._shadow = f"{table}_{replay.replace('-', '_')}"
        self._wrong = f"{self._shadow}_wrong"

    def sink(self, database: Database, group: str) -> Sink:
        """See :meth:`ops.replay.rebuild.Shadow.sink`."""
        return self._make_sink(database, group, self._warehouse, self._shadow)

    async def make(self) -> None:
        """See :meth:`ops.replay.rebuild.Shadow.make`."""
        table = new_table(self._warehouse, self._shadow, self._table)
        table.expires = datetime.now(UTC) + _KEPT
        await self._ask(partial(self._warehouse.rest.create_table, table, exists_ok=True))

    async def hold(self, connection: asyncpg.Connection, live: Database, group: str) -> None:
        """Lock what the agent reads before it writes down an append, and find out about those that it has written down.

        Like a new owner of its partitions: an append of the agent's that is under way takes place before, or never.
        """
        rows = await connection.fetch(
            """SELECT topic, partition FROM warehouse_owners WHERE consumer_group = $1
               ORDER BY topic, partition FOR UPDATE""",
            group,
        )
        partitions = [Partition(row["topic"], UUID(int=0), row["partition"]) for row in rows]
        try:
            await self._make_sink(live, group, self._warehouse, None).settle_open_appends(partitions)
        except Retry as error:
            raise ShadowFault(str(error)) from error

    async def take_over(self, connection: asyncpg.Connection, schema: str) -> list[Difference]:
        """See :meth:`ops.replay.rebuild.Shadow.take_over`; here *connection* only holds the agent."""
        live, shadow, wrong = (f"{self._warehouse.dataset}.{name}" for name in (self._table, self._shadow, self._wrong))
        await self._query(
            f"""CREATE OR REPLACE TABLE `{wrong}` AS
                SELECT event_id, COALESCE(live.copies, 0) AS copies, shadow.says IS NOT NULL AS is_known,
                       live.says IS NOT NULL AND shadow.says IS NOT NULL AND live.says != shadow.says AS is_changed
                FROM ({_SAYS.format(live)}) AS live FULL JOIN ({_SAYS.format(shadow)}) AS shadow USING (event_id)
                WHERE live.says IS NULL OR shadow.says IS NULL OR live.says != shadow.says OR live.copies > 1"""
        )
        [found] = await self._query(
            f"""SELECT COUNTIF(copies = 0) AS missing, COUNTIF(is_changed) AS changed,
                       COALESCE(SUM(GREATEST(copies - IF(is_known, 1, 0), 0)), 0) AS surplus FROM `{wrong}`"""
        )
        difference = Difference(self._table, int(found["missing"]), int(found["changed"]), int(found["surplus"]))
        if difference.missing or difference.changed or difference.surplus:
            columns = [field.name for field in self._warehouse.schema(self._table)]
            names, values = ", ".join(columns), ", ".join(f"right_row.{column}" for column in columns)
            # Each id twice: once for the rows that go, once with the row that comes, where there is one.
            await self._query(
                f"""MERGE `{live}` AS live
                    USING (SELECT ids.wrong_id, ids.goes, shadow.*
                           FROM (SELECT event_id AS wrong_id, goes
                                 FROM `{wrong}` CROSS JOIN UNNEST([TRUE, FALSE]) AS goes) AS ids
                           LEFT JOIN (SELECT * FROM `{shadow}` WHERE {_ALL_DAYS}) AS shadow
                                ON shadow.event_id = ids.wrong_id AND NOT ids.goes) AS right_row
                    ON live.event_id = right_row.wrong_id AND right_row.goes AND live.{_ALL_DAYS}
                    WHEN MATCHED THEN DELETE
                    WHEN NOT MATCHED AND right_row.event_id IS NOT NULL THEN INSERT ({names}) VALUES ({values})"""
            )
        return [difference]

    async def drop(self) -> None:
        """See :meth:`ops.replay.rebuild.Shadow.drop`."""
        for name in (self._shadow, self._wrong):
            full_name = f"{self._warehouse.dataset}.{name}"
            await self._ask(partial(self._warehouse.rest.delete_table, full_name, not_found_ok=True))

    async def _query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self._ask(partial(self._warehouse.query, sql, within=_WITHIN_SECONDS))
        return rows

    async def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(call)
        except (Unavailable, GoogleAPICallError, GoogleAuthError, OSError) as error:
            raise ShadowFault(f"BigQuery: {error}") from error
