"""Whether svc-og-renderer may be called: its breaker and the operator's switch. The API hears of both through Redis."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients import breaker_board, metrics
from clients.faults import Unavailable
from clients.logs import get_logger
from config.settings import BreakerSettings, RedisSettings
from streams.previews.breaker import CircuitBreaker, State

BREAKER = "og-renderer-cb"
_TELL_EVERY_SECONDS = 1.0
# How long the API believes a worker that has stopped telling.
_BELIEVED_SECONDS = 5.0


class RendererGate:
    """Shared by the outboxes that draw cards. Not for use from several threads."""

    def __init__(self, breaker: BreakerSettings, redis: RedisSettings) -> None:
        self._redis = Redis.from_url(
            redis.url, socket_timeout=redis.timeout_seconds, socket_connect_timeout=redis.timeout_seconds
        )
        self._worker = uuid4().hex
        self._breaker = CircuitBreaker(breaker, self._changed)
        self._has_changed = asyncio.Event()
        # Unknown until Redis was asked for the first time.
        self._stopped: bool | None = None
        self._show()

    @property
    def is_stopped(self) -> bool:
        """Whether the operator has stopped all pictures, or that is not known yet."""
        return self._stopped is not False

    @property
    def is_open(self) -> bool:
        """Whether the renderer is spared now."""
        return self._breaker.state is State.OPEN

    def acquire(self, calls: int) -> int:
        """Permission for up to *calls* calls; each is then recorded, or released."""
        allowed = 0
        while not self.is_stopped and allowed < calls and self._breaker.try_acquire():
            allowed += 1
        return allowed

    def release(self, calls: int = 1) -> None:
        """So many permitted calls were not made."""
        for _ in range(calls):
            self._breaker.release()

    def record(self, *, failed: bool, seconds: float) -> None:
        """A call to the renderer ended; *failed* speaks of the service, never of one card."""
        self._breaker.record(failed=failed, seconds=seconds)
        self._show()

    async def tell(self) -> None:
        """Exchange states with Redis, then wait until there is news; raises :class:`clients.faults.Unavailable`."""
        self._has_changed.clear()
        try:
            self._stopped = await breaker_board.is_forced(self._redis)
            if self.is_open:
                await breaker_board.put_open(self._redis, self._worker, _BELIEVED_SECONDS)
            else:
                await breaker_board.put_closed(self._redis, self._worker)
        except (RedisError, OSError) as error:
            self._stopped = bool(self._stopped)
            raise Unavailable("Redis", f"{type(error).__name__}: {error}") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TELL_EVERY_SECONDS):
                await self._has_changed.wait()

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._redis.aclose()

    def _changed(self, old: State, new: State) -> None:
        get_logger().warning("circuit breaker", name=BREAKER, state=new, was=old)
        self._has_changed.set()
        self._show()

    def _show(self) -> None:
        for state in State:
            metrics.BREAKER_STATE.labels(BREAKER, state).set(state is self._breaker.state)
        metrics.BREAKER_FAILURE_RATE.labels(BREAKER).set(self._breaker.failure_rate)
        metrics.BREAKER_SLOW_CALL_RATE.labels(BREAKER).set(self._breaker.slow_call_rate)
