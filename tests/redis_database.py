"""A database of the stack's Redis for one file of tests, which run one after another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from config.settings import RedisSettings

# The stack's own processes write into database 0: whoever looks for a word there may read one of theirs.
_NUMBERS = {"erasure": 9, "deleted lists": 10, "breaker": 11}


def redis_settings(use: str) -> RedisSettings:
    """The settings that lead to *use*'s database."""
    settings = RedisSettings()
    return settings.model_copy(update={"url": f"{settings.url.rsplit('/', 1)[0]}/{_NUMBERS[use]}"})


@asynccontextmanager
async def empty_redis(use: str) -> AsyncIterator[Redis]:
    """A connection to it, with nothing in it."""
    async with Redis.from_url(redis_settings(use).url) as redis:
        await redis.flushdb()
        yield redis
