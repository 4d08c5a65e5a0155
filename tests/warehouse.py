"""Datasets of a test's own in the warehouse that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from clients.bigquery import Warehouse
from config.settings import WarehouseSettings
from ops import warehouse as preparation


@contextmanager
def made_warehouse(dataset: str) -> Iterator[Warehouse]:
    """A fresh dataset with tables and views, dropped at the end."""
    warehouse = Warehouse(WarehouseSettings(dataset=dataset))
    list(preparation.prepare(warehouse))
    try:
        yield warehouse
    finally:
        warehouse.rest.delete_dataset(warehouse.dataset, delete_contents=True)


@asynccontextmanager
async def open_warehouse(dataset: str) -> AsyncIterator[Warehouse]:
    """As :func:`made_warehouse`, without holding up the event loop."""
    made = made_warehouse(dataset)
    warehouse = await asyncio.to_thread(made.__enter__)
    try:
        yield warehouse
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


async def rows_of(warehouse: Warehouse, columns: str = "*", table: str = "share_events") -> list[dict[str, Any]]:
    """All rows of *table*, by event id."""
    sql = f"SELECT {columns} FROM `{warehouse.dataset}.{table}` WHERE event_date > '1970-01-01' ORDER BY event_id"
    return await asyncio.to_thread(warehouse.query, sql)
