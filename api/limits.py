"""Rate limits: a sliding window on Redis's clock, one script a check.

Each hit is a member of a sorted set with its time in microseconds as the score. Without Redis the limits fail open
(spec, runbook) under a cap for the process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from redis.asyncio import Redis

from api.errors import ApiError
from api.redis_gate import RedisGate
from clients import metrics
from clients.faults import Unavailable
from clients.links import rate_key

# KEYS[1]: the window. ARGV: window in microseconds, limit, member. A member that is there already is the same hit
# again (a retried request) and is free. Answers: allowed, hits in the window, microseconds until the oldest leaves,
# the second at which it does, and what KEYS[2] holds.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local used = redis.call('ZCARD', KEYS[1])
local allowed = 1
if not redis.call('ZSCORE', KEYS[1], ARGV[3]) then
  if used < tonumber(ARGV[2]) then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
    redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
    used = used + 1
  else
    allowed = 0
  end
end
local oldest = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
local left = oldest + window - now
return {allowed, used, left, math.ceil((oldest + window) / 1000000), KEYS[2] and redis.call('GET', KEYS[2]) or false}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many hits in so many seconds; *message* is what a refused caller reads."""

    name: str
    hits: int
    seconds: int
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found: *reset* is Unix time, *retry_after* seconds until a hit leaves the window."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int

    def headers(self) -> dict[str, str]:
        """The spec's ``X-RateLimit-*``."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What Redis holds under a key, None where nothing; *answers*: whether Redis could be asked."""

    value: bytes | None
    answers: bool


class Limiter:
    """Checks hits against limits."""

    def __init__(self, redis: RedisGate, *, fallback_per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._fallback = fallback_per_minute
        self._clock = clock
        self._minute = 0
        self._passed = 0

    async def hit(self, limit: Limit, who: str, member: str | None = None) -> Verdict:
        """Count a hit of *who*; raises 429 where there are too many. *member* names the hit, for retries."""
        return (await self._check(limit, who, member))[0]

    async def hit_and_read(self, limit: Limit, who: str, key: str) -> Held:
        """As :meth:`hit`, and what is under *key*, in one round trip."""
        return (await self._check(limit, who, None, key))[1]

    async def _check(self, limit: Limit, who: str, member: str | None, *wanted: str) -> tuple[Verdict, Held]:
        metrics.RATE_LIMIT_CHECKS.labels(limit.name).inc()
        keys = (rate_key(limit.name, who), *wanted)
        arguments = (limit.seconds * 1_000_000, limit.hits, member or uuid4().hex)

        async def run(redis: Redis) -> tuple[int, int, int, int, bytes | None]:
            return cast(
                tuple[int, int, int, int, bytes | None],
                await cast(Awaitable[object], redis.eval(_SCRIPT, len(keys), *keys, *arguments)),
            )

        with metrics.RATE_LIMIT_SECONDS.labels(limit.name).time():
            try:
                allowed, used, left, reset, held = await self._redis.call(run)
            except Unavailable:
                return self._without_redis(limit), Held(None, answers=False)
        verdict = Verdict(
            bool(allowed), limit.hits, max(limit.hits - used, 0), reset, max(math.ceil(left / 1_000_000), 1)
        )
        if not verdict.allowed:
            self._refuse(limit, verdict)
        return verdict, Held(held, answers=True)

    def _without_redis(self, limit: Limit) -> Verdict:
        metrics.RATE_LIMIT_FAIL_OPEN.labels(limit.name).inc()
        now = self._clock()
        if int(now // 60) != self._minute:
            self._minute, self._passed = int(now // 60), 0
        self._passed += 1
        allowed = self._passed <= self._fallback
        retry_after = max(math.ceil(60 - now % 60), 1)
        verdict = Verdict(allowed, limit.hits, limit.hits - 1, math.ceil(now) + limit.seconds, retry_after)
        if not allowed:
            self._refuse(limit, verdict)
        return verdict

    def _refuse(self, limit: Limit, verdict: Verdict) -> None:
        metrics.RATE_LIMIT_BLOCKS.labels(limit.name).inc()
        raise ApiError(
            429,
            "RATE_LIMIT_EXCEEDED",
            limit.message,
            headers={**verdict.headers(), "Retry-After": str(verdict.retry_after)},
            extra={"retry_after_seconds": verdict.retry_after},
        )
