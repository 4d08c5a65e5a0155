"""The renderer's circuit breaker as the API sees it (``clients/breaker_board.py``)."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.redis_gate import RedisAway, RedisGate
from clients.breaker_board import any_open

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
                self._open = await self._gate.call(any_open)
            except RedisAway:
                self._open = False
        return self._open
