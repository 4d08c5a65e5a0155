"""Catalogue and users by country in BigQuery: as PostgreSQL has them, and a row only for what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from clients.bigquery import Warehouse
from clients.faults import Unavailable
from clients.postgres import Database
from config.settings import PostgresSettings
from streams.bigquery.reference_tables import ReferenceTables
from tests.lab import open_database
from tests.warehouse import open_warehouse


@pytest.fixture
async def warehouse() -> AsyncIterator[Warehouse]:
    async with open_warehouse(f"reference_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


@pytest.fixture
async def dsn() -> AsyncIterator[str]:
    async with open_database(f"reference_{uuid4().hex[:12]}") as dsn:
        yield dsn


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def tables(dsn: str, warehouse: Warehouse) -> AsyncIterator[ReferenceTables]:
    database = Database(PostgresSettings(dsn=dsn))
    yield ReferenceTables(database, warehouse)
    await (await database.pool()).close()


async def shown(warehouse: Warehouse, columns: str, view: str) -> set[tuple[object, ...]]:
    rows = await asyncio.to_thread(warehouse.query, f"SELECT {columns} FROM `{warehouse.dataset}.{view}`")
    return {tuple(row.values()) for row in rows}


async def test_the_views_show_what_postgresql_has_and_only_changes_are_written(
    warehouse: Warehouse, tables: ReferenceTables, connection: asyncpg.Connection
) -> None:
    products = await connection.fetchval("SELECT count(*) FROM products")
    assert await tables.refresh() == {"product_versions": products, "user_counts": 1}
    assert await tables.refresh() == {"product_versions": 0, "user_counts": 0}
    assert await shown(warehouse, "country, users", "users_by_country") == {("", 5)}

    await connection.execute("UPDATE products SET price = 12.34, name = 'Lamp — grün' WHERE id = 'prod_1a2b3c'")
    await connection.execute("INSERT INTO products (id, name, price) VALUES ('prod_new', 'New', 1)")
    await connection.execute("UPDATE users SET country = 'DE'")
    assert await tables.refresh() == {"product_versions": 2, "user_counts": 2}
    columns = "product_id, product_name, price, currency, in_stock, is_removed"
    held = await shown(warehouse, columns, "products")
    assert len(held) == products + 1
    assert ("prod_1a2b3c", "Lamp — grün", Decimal("12.34"), "USD", True, False) in held
    assert await shown(warehouse, "country, users", "users_by_country") == {("", 0), ("DE", 5)}

    await connection.execute("DELETE FROM products WHERE id = 'prod_new'")
    assert await tables.refresh() == {"product_versions": 1, "user_counts": 0}
    assert ("prod_new", "New", Decimal(1), "USD", True, True) in await shown(warehouse, columns, "products")
    assert await tables.refresh() == {"product_versions": 0, "user_counts": 0}


async def test_one_worker_at_a_time(tables: ReferenceTables, dsn: str) -> None:
    other = await asyncpg.connect(dsn)
    await other.fetchval("SELECT pg_advisory_lock(hashtext('warehouse reference tables'))")
    assert await tables.refresh() == {}
    await other.close()
    assert (await tables.refresh())["user_counts"] == 1


async def test_a_fault_lets_the_next_one_try(
    warehouse: Warehouse, tables: ReferenceTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(table: str) -> None:
        raise Unavailable("BigQuery", "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "open_stream", away)
        with pytest.raises(Unavailable, match="no answer"):
            await tables.refresh()
    assert (await tables.refresh())["user_counts"] == 1
