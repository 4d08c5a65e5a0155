"""Where workers write that their breaker is open, for the API to read: one sorted set in Redis for each breaker.

Members are workers, scores the Unix time until which the word holds: a worker that dies leaves nothing behind for
long. The operator is a member too, without end: nobody renders, nothing stands in, everybody gets the generic picture.
"""

from __future__ import annotations

import math
import time

from redis.asyncio import Redis

PREVIEWS = "breaker:og-renderer-cb:open"
_OPERATOR = "operator"


async def put_open(redis: Redis, worker: str, seconds: float) -> None:
    """*worker*'s breaker is open for the next *seconds*."""
    now = time.time()
    await redis.zremrangebyscore(PREVIEWS, -math.inf, now)
    await redis.zadd(PREVIEWS, {worker: now + seconds})


async def put_closed(redis: Redis, worker: str) -> None:
    """*worker*'s breaker lets calls through."""
    await redis.zrem(PREVIEWS, worker)


async def any_open(redis: Redis) -> bool:
    """Whether pictures are not being made at the moment, for whichever reason."""
    return bool(await redis.zcount(PREVIEWS, time.time(), math.inf))


async def force_open(redis: Redis) -> None:
    """Serve static pictures only, until :func:`unforce`."""
    await redis.zadd(PREVIEWS, {_OPERATOR: math.inf})


async def unforce(redis: Redis) -> None:
    """Make pictures again."""
    await redis.zrem(PREVIEWS, _OPERATOR)


async def is_forced(redis: Redis) -> bool:
    """Whether the operator has asked for static pictures only."""
    return await redis.zscore(PREVIEWS, _OPERATOR) is not None
