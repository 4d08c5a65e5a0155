"""Limits without Redis: they fail open, under a cap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from api.errors import ApiError
from api.limits import Limit, Limiter, Verdict
from api.redis_gate import RedisGate
from clients.faults import Unavailable

T = TypeVar("T")
LIMIT = Limit("share_create", 20, 3_600, "Share rate limit exceeded. Maximum 20 shares per hour.")


class NoRedis(RedisGate):
    """A gate to a Redis that is not there."""

    def __init__(self) -> None:
        """Nothing to keep."""

    async def call(self, command: Callable[[Redis], Awaitable[T]], *, insist: bool = False) -> T:
        raise Unavailable("Redis", "away")


class BrokenRedis:
    """A Redis whose every command fails."""

    calls = 0

    async def get(self, _: str) -> bytes:
        self.calls += 1
        raise ConnectionError("refused")


async def test_without_redis_requests_pass_up_to_the_cap() -> None:
    now = [1_000_000.0]
    limiter = Limiter(NoRedis(), fallback_per_minute=30, clock=lambda: now[0])
    for _ in range(30):
        assert (await limiter.hit(LIMIT, "user_maya")).allowed
    with pytest.raises(ApiError) as caught:
        await limiter.hit(LIMIT, "user_maya")
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    now[0] += 60
    assert (await limiter.hit(LIMIT, "user_maya")).allowed


def test_headers_are_the_specs() -> None:
    headers = Verdict(allowed=True, limit=20, remaining=19, reset=1_694_862_134, retry_after=3_600).headers()
    assert headers == {
        "X-RateLimit-Limit": "20",
        "X-RateLimit-Remaining": "19",
        "X-RateLimit-Reset": "1694862134",
    }


async def test_after_a_failure_redis_is_left_alone_for_a_moment() -> None:
    now = [0.0]
    redis = BrokenRedis()
    gate = RedisGate(redis, clock=lambda: now[0])  # type: ignore[arg-type]  # as much of Redis as is called

    async def ask(insist: bool = False) -> None:
        with pytest.raises(Unavailable):
            await gate.call(lambda r: r.get("x"), insist=insist)

    await ask()
    await ask()
    assert redis.calls == 1
    await ask(insist=True)
    assert redis.calls == 2
    now[0] += 1
    await ask()
    assert redis.calls == 3
