"""Each test gets a database and topics of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from clients.bigquery import Warehouse
from tests.cluster import Cluster, open_cluster
from tests.lab import Lab, open_lab
from tests.trap import Trap, set_trap
from tests.warehouse import open_warehouse


@pytest.fixture
async def warehouse() -> AsyncIterator[Warehouse]:
    async with open_warehouse(f"faults_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with open_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole_cluster(request: pytest.FixtureRequest) -> None:
    """A test that fails while brokers are away fails alone."""
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster").revive()


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Trap:
    return set_trap(monkeypatch)
