"""The person's rows in BigQuery: events they or their shares are in, and what clients told of them."""

from __future__ import annotations

import asyncio
from typing import Any

from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

from clients.bigquery import Warehouse
from clients.faults import Unavailable
from clients.postgres import Database
from ops.erasure.contract import NotYet, Person
from schemas.ids import share_id_for

_SETTLE_SECONDS = 10.0

# Partitioned tables refuse a statement that names no days. What a browser sent before its user signed in is theirs too.
_THEIRS = {
    "share_events": "event_date > DATE '1970-01-01' AND (user_id = @user OR recipient_user_id = @user)",
    "segment_messages": """event_date > DATE '1970-01-01' AND (
        user_id = @name OR share_id IN UNNEST(@shares)
        OR user_id IS NULL AND anonymous_id IN (
            SELECT anonymous_id FROM `{table}` WHERE event_date > DATE '1970-01-01' AND user_id = @name))""",
}


class WarehouseRows:
    """Rows that BigQuery took in the last half hour it may refuse to delete: then it is asked again later."""

    name = "bigquery"

    def __init__(self, database: Database, warehouse: Warehouse) -> None:
        self._database = database
        self._warehouse = warehouse

    async def count(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.count`."""
        return sum([await self._count(person, table) for table in _THEIRS])

    async def erase(self, person: Person) -> int:
        """See :meth:`ops.erasure.contract.Eraser.erase`."""
        await self._await_appends()
        erased = 0
        for table in _THEIRS:
            there = await self._count(person, table)
            if there:
                await self._ask(f"DELETE FROM `{{table}}` WHERE {_THEIRS[table]}", table, person)
                erased += there
        if left := await self.count(person):
            raise NotYet(f"BigQuery still has {left} of the rows")
        return erased

    async def _count(self, person: Person, table: str) -> int:
        rows = await self._ask(f"SELECT count(*) AS n FROM `{{table}}` WHERE {_THEIRS[table]}", table, person)
        return int(rows[0]["n"])

    async def _ask(self, sql: str, table: str, person: Person) -> list[dict[str, Any]]:
        shares = [str(share_id_for(token)) for token in person.share_tokens]
        parameters = {
            "@user": ScalarQueryParameter("user", "STRING", str(person.user_id)),
            "@name": ScalarQueryParameter("name", "STRING", person.public_id),
            "@shares": ArrayQueryParameter("shares", "STRING", shares),
        }
        used = [parameter for name, parameter in parameters.items() if name in sql]
        statement = sql.replace("{table}", f"{self._warehouse.dataset}.{table}")
        try:
            return await asyncio.to_thread(self._warehouse.query, statement, used)
        except Unavailable as error:
            raise NotYet(
                f"{error}. Where it names the streaming buffer, rows are too new: run again in an hour"
            ) from error

    async def _await_appends(self) -> None:
        """Wait for the appends that were written down before the person was removed: their rows come yet."""
        pool = await self._database.pool()
        waiting = [row["id"] for row in await pool.fetch("SELECT id FROM warehouse_appends")]
        give_up = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while await pool.fetchval("SELECT count(*) FROM warehouse_appends WHERE id = ANY($1::uuid[])", waiting):
            if asyncio.get_running_loop().time() > give_up:
                raise NotYet("appends to BigQuery are open, which the agents warehouse and segment settle as they run")
            await asyncio.sleep(0.2)
