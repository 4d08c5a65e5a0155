"""The renderer's circuit breaker as the API sees it (``clients/breaker_board.py``)."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.redis_gate import RedisGate
from clients.breaker_board import any_open, is_forced
from clients.faults import Unavailable

_LOOK_EVERY_SECONDS = 1.0


class BreakerView:
    """Whether any worker's breaker is open, looked up once a second at most."""

    def __init__(self, gate: RedisGate, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._clock = clock
        self._next_look = 0.0
        self._open = False
        self._forced = False

    async def is_open(self) -> bool:
        """True where the renderer makes no pictures at the moment."""
        await self._look()
        return self._open

    async def is_forced(self) -> bool:
        """True where the operator has stopped pictures, so that nothing stands in for them either."""
        await self._look()
        return self._forced

    async def _look(self) -> None:
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + _LOOK_EVERY_SECONDS
            try:
                self._open = await self._gate.call(any_open)
                self._forced = await self._gate.call(is_forced)
            except Unavailable:
                self._open = self._forced = False
