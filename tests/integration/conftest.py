"""A warehouse of the test's own, and workers that write into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from clients.bigquery import Warehouse
from tests.lab import Lab, open_lab
from tests.warehouse import open_warehouse


@pytest.fixture
async def warehouse() -> AsyncIterator[Warehouse]:
    async with open_warehouse(f"tests_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


@pytest.fixture
async def lab(tmp_path: Path, warehouse: Warehouse) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        lab.env |= {"BIGQUERY_DATASET": warehouse.settings.dataset, "BIGQUERY_BATCH_SECONDS": "0.2"}
        yield lab
