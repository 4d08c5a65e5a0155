"""Spoils one call that the code under test makes of a driver: PostgreSQL's, Redis's, BigQuery's or the bucket's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError

import clients.postgres
from clients.bigquery import Warehouse
from clients.faults import Unavailable
from clients.objects import ObjectStore

HOW = ("it is not done", "its answer is lost", "a defect")
STATEMENTS = ("execute", "executemany", "fetch", "fetchrow", "fetchval")
WAREHOUSE = ("open_stream", "append", "finish", "query")


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


def _awaited(trap: Trap, method: Any, lost: Callable[[str], Exception]) -> Any:
    async def call(*words: Any, **more: Any) -> Any:
        return await trap.around(partial(method, *words, **more), lost("injected"))

    return call


def _blocking(trap: Trap, method: Any) -> Any:
    def call(*words: Any, **more: Any) -> Any:
        async def done() -> Any:
            return method(*words, **more)

        return asyncio.run(trap.around(done, Unavailable("BigQuery", "injected")))

    return call


def set_trap(monkeypatch: pytest.MonkeyPatch) -> Trap:
    """A trap in the way of every driver, until the test's end."""
    trap = Trap()
    statements = {name: _statement(trap, getattr(asyncpg.Connection, name)) for name in STATEMENTS}
    spoilt = type("SpoiltConnection", (clients.postgres.PlainConnection,), statements)
    monkeypatch.setattr(clients.postgres, "PlainConnection", spoilt)
    for name in WAREHOUSE:
        monkeypatch.setattr(Warehouse, name, _blocking(trap, getattr(Warehouse, name)))
    monkeypatch.setattr(ObjectStore, "_call", _awaited(trap, ObjectStore._call, partial(Unavailable, "the bucket")))
    for kind, name in ((Redis, "execute_command"), (Pipeline, "execute")):
        monkeypatch.setattr(kind, name, _awaited(trap, getattr(kind, name), RedisConnectionError))
    return trap
