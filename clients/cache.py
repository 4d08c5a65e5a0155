"""The Redis connection."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config.settings import RedisSettings


def open_redis(settings: RedisSettings) -> Redis:
    """A client that gives up after ``timeout_seconds`` and does not retry: callers fail open."""
    return Redis.from_url(
        settings.url,
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
