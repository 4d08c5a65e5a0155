"""Every call that a sink makes of a driver fails once, in each way it can: each event is there once all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from itertools import count
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

import clients.postgres
from clients.bigquery import Warehouse, WarehouseError
from clients.objects import ObjectStore, ObjectStoreError
from clients.postgres import Database
from config.settings import PostgresSettings
from ops.replay.targets import targets
from schemas.event import ShareEvent
from tests.engine_bench import TOPIC, Bench, Log
from tests.every_sink import SINKS, House, SinkUnderTest, lively_story, open_house
from tests.lab import CODEC, open_lab

STATEMENTS = ("execute", "executemany", "fetch", "fetchrow", "fetchval")
WAREHOUSE = ("open_stream", "append", "finish", "query")
HOW = ("it is not done", "its answer is lost", "a defect")
# So many that a share is made, looked at, taken from and ended.
EVENTS = 41

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


class Trap:
    """Counts a sink's calls and spoils one of them, before or after it was done."""

    def __init__(self) -> None:
        self.how = ""
        self.spoils = 0
        self.calls = 0

    def set(self, number: int, how: str = "") -> None:
        """Spoil that call from now on; 0 spoils none."""
        self.spoils, self.calls, self.how = number, 0, how

    @property
    def has_sprung(self) -> bool:
        """Whether there was such a call."""
        return self.calls >= self.spoils

    def falls(self) -> bool:
        """Whether this call is the one."""
        self.calls += 1
        return self.calls == self.spoils

    async def around(self, call: Callable[[], Any], lost: Exception, sever: Callable[[], None] = lambda: None) -> Any:
        """Do *call*, or fail in its place: by *lost* and a severed connection, or as a defect of the code would."""
        if not self.falls():
            return await call()
        if self.how == "a defect":
            raise RuntimeError("injected")
        if self.how == "its answer is lost":
            await call()
        sever()
        raise lost


def _statement(trap: Trap, method: Any) -> Any:
    @wraps(method)
    async def call(self: asyncpg.Connection, *words: Any, **more: Any) -> Any:
        lost = asyncpg.ConnectionDoesNotExistError("injected")
        return await trap.around(partial(method, self, *words, **more), lost, self.terminate)

    return call


def _awaited(trap: Trap, method: Any) -> Any:
    async def call(*words: Any, **more: Any) -> Any:
        return await trap.around(partial(method, *words, **more), ObjectStoreError("injected"))

    return call


def _blocking(trap: Trap, method: Any) -> Any:
    def call(*words: Any, **more: Any) -> Any:
        async def done() -> Any:
            return method(*words, **more)

        return asyncio.run(trap.around(done, WarehouseError("injected")))

    return call


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Trap:
    """In the way of every driver."""
    trap = Trap()
    statements = {name: _statement(trap, getattr(asyncpg.Connection, name)) for name in STATEMENTS}
    spoilt = type("SpoiltConnection", (clients.postgres.PlainConnection,), statements)
    monkeypatch.setattr(clients.postgres, "PlainConnection", spoilt)
    for name in WAREHOUSE:
        monkeypatch.setattr(Warehouse, name, _blocking(trap, getattr(Warehouse, name)))
    monkeypatch.setattr(ObjectStore, "put", _awaited(trap, ObjectStore.put))
    return trap


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_lab(tmp_path_factory.mktemp("calls")) as lab, open_house(lab) as house:
        yield house


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.agent)
async def test_each_call_fails_once(
    house: House, sink: SinkUnderTest, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**house.lab.env, "KAFKA_EVENTS_TOPIC": TOPIC}.items():
        monkeypatch.setenv(name, value)
    target, group, log = targets()[sink.agent], sink.group_in(house.lab), Log()
    events: list[ShareEvent] = []
    for how in HOW:
        for number in count(1):
            portion = lively_story(EVENTS)
            for event in portion:
                log.append(0, CODEC.encode(event))
            events += portion
            database = Database(PostgresSettings(dsn=house.lab.dsn))
            bench = Bench(target.make(database, group), log=log, decode=target.decode(CODEC, group))
            trap.set(number, how)
            await bench.run(EVENTS // 2 + 1, within=60)
            sprung = trap.has_sprung
            trap.set(0)
            await (await database.pool()).close()
            assert not bench.dlq.letters
            if not sprung:
                break
        assert number > 5, "there are calls to fail"
        print(f"{sink.agent}: {number - 1} calls, each failed once: {how}")
        assert await sink.held(house, group) == sink.owed(events), how
