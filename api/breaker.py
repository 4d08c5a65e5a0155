"""The renderer's circuit breaker as the API sees it: one Redis key for each worker, short-lived; none means closed."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis.asyncio import Redis

from api.redis_gate import RedisAway, RedisGate

KEYS = "breaker:og-renderer-cb:*"
_LOOK_EVERY_SECONDS = 1.0


class BreakerView:
    """Whether any worker's breaker is open, looked up once a second at most."""

    def __init__(self, gate: RedisGate, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._clock = clock
        self._next_look = 0.0
        self._open = False

    async def is_open(self) -> bool:
        """True where pictures are not being made at the moment."""
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + _LOOK_EVERY_SECONDS
            try:
                self._open = await self._gate.call(_any_open)
            except RedisAway:
                self._open = False
        return self._open


async def _any_open(redis: Redis) -> bool:
    async for key in redis.scan_iter(match=KEYS, count=500):
        if await redis.get(key) in {b"open", b"OPEN"}:
            return True
    return False
