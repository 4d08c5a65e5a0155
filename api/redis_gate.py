"""Redis as the API uses it: help that may be missing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients.faults import Unavailable

T = TypeVar("T")
# After a failure nobody else waits for Redis this long: with a time-out a request, a hanging Redis would slow all.
_REST_SECONDS = 0.5


class RedisGate:
    """Calls Redis and turns its failures into :class:`clients.faults.Unavailable`."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._rest_until = 0.0

    async def call(self, command: Callable[[Redis], Awaitable[T]], *, insist: bool = False) -> T:
        """The answer to *command*; *insist* asks even right after a failure."""
        if not insist and self._clock() < self._rest_until:
            raise Unavailable("Redis", "resting after a failure")
        try:
            return await command(self._redis)
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = self._clock() + _REST_SECONDS
            raise Unavailable("Redis", f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
