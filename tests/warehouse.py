"""Datasets of a test's own in the warehouse that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from clients.bigquery import Warehouse
from config.settings import WarehouseSettings
from ops import warehouse as preparation


@asynccontextmanager
async def open_warehouse(dataset: str) -> AsyncIterator[Warehouse]:
    """A fresh dataset with tables and views, dropped at the end."""
    warehouse = Warehouse(WarehouseSettings(dataset=dataset))
    await asyncio.to_thread(list, preparation.prepare(warehouse))
    try:
        yield warehouse
    finally:
        await asyncio.to_thread(warehouse.rest.delete_dataset, warehouse.dataset, delete_contents=True)


async def rows_of(warehouse: Warehouse, columns: str = "*") -> list[dict[str, Any]]:
    """All rows of ``share_events``, by event id."""
    sql = f"SELECT {columns} FROM `{warehouse.dataset}.share_events` ORDER BY event_id"
    return await asyncio.to_thread(warehouse.query, sql)
