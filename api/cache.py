"""Shares in Redis: links that work before PostgreSQL has them, and while PostgreSQL is away (:mod:`clients.links`)."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from cachetools import LRUCache
from redis.asyncio import Redis

from api.redis_gate import RedisGate
from api.shares_model import Share, SharedList
from clients.links import (
    TOMBSTONE,
    TOMBSTONE_SECONDS,
    VERSIONS_SECONDS,
    added_key,
    buried_key,
    given_versions,
    recent_key,
    share_key,
    versions_key,
    view_key,
)

# How often one process writes the same list again: it is only read while PostgreSQL is away.
_VIEW_REFRESH_SECONDS = 60.0
_REMEMBERED_VIEWS = 10_000

# Replaces a cached share, but never a tombstone.
_REPLACE = """
if redis.call('GET', KEYS[1]) == 'revoked' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# A share that was just made, the list it shows, and the share among its list's: one command for the client to pack and
# to read the answer of, where it was four.
_PUT_NEW = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'NX')
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[6])
redis.call('EXPIRE', KEYS[3], ARGV[4])
"""

# What is kept of a copied item first stays.
_ADD = """
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('HGET', KEYS[1], ARGV[1])
"""


class Revoked(Exception):
    """The cache holds this token's tombstone."""


class ShareCache:
    """Reads and writes those keys; every method may raise :class:`clients.faults.Unavailable`."""

    def __init__(self, gate: RedisGate, ttl_seconds: int) -> None:
        self._gate = gate
        self._ttl = ttl_seconds
        self._written: dict[str, float] = {}
        self._given: LRUCache[tuple[str, str], None] = LRUCache(_REMEMBERED_VIEWS)

    async def raw(self, token: str) -> bytes | None:
        """What is kept under a token, for :meth:`share_in`; None where the cache does not know it."""
        return cast("bytes | None", await self._gate.call(lambda redis: redis.get(self.key_of(token))))

    @staticmethod
    def key_of(token: str) -> str:
        """Where a share is kept."""
        return share_key(token)

    @staticmethod
    def share_in(raw: bytes | None) -> Share | None:
        """The share that is kept as *raw*; raises :class:`Revoked`."""
        if raw == TOMBSTONE:
            raise Revoked
        return Share.from_json(raw) if raw else None

    async def fill(self, share: Share) -> None:
        """Keep what was read elsewhere; what is there already, tombstone or newer settings, stays."""
        ttl = self._ttl_of(share)
        await self._gate.call(lambda redis: redis.set(share_key(share.token), share.to_json(), ex=ttl, nx=True))

    async def put_new(self, share: Share, shown: SharedList) -> None:
        """Keep a share that was just made, and the list it shows, in one round trip."""
        keys = share_key(share.token), view_key(share.token), recent_key(share.wishlist_id)
        kept = share.to_json(), self._ttl_of(share), shown.to_json(), self._ttl
        newest = share.created_at.timestamp(), share.token

        async def run(redis: Redis) -> None:
            await cast(Awaitable[None], redis.eval(_PUT_NEW, len(keys), *keys, *kept, *newest))

        await self._gate.call(run)

    async def replace(self, share: Share) -> None:
        """Keep a share whose settings have changed."""
        ttl = self._ttl_of(share)

        async def run(redis: Redis) -> None:
            await cast(Awaitable[int], redis.eval(_REPLACE, 1, share_key(share.token), share.to_json(), ttl))

        await self._gate.call(run)

    async def bury(self, token: str, wishlist_id: UUID) -> None:
        """Set the tombstone, and forget the list; whose the share was stays known to its owner."""

        async def run(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.set(share_key(token), TOMBSTONE, ex=TOMBSTONE_SECONDS)
                pipe.set(buried_key(token), str(wishlist_id), ex=TOMBSTONE_SECONDS)
                pipe.delete(view_key(token))
                await pipe.execute()

        await self._gate.call(run, insist=True)

    async def buried_in(self, token: str) -> UUID | None:
        """The list of a share that was revoked; None where no such share is known."""
        raw = await self._gate.call(lambda redis: redis.get(buried_key(token)))
        return UUID(cast(bytes, raw).decode()) if raw else None

    async def forget_view(self, token: str) -> None:
        """Forget the list as it was shown: it has changed in a way that its owner asked for."""
        self._written.pop(token, None)
        await self._gate.call(lambda redis: redis.delete(view_key(token)), insist=True)

    async def view(self, token: str) -> SharedList | None:
        """The list as it was last shown."""
        raw = await self._gate.call(lambda redis: redis.get(view_key(token)))
        return SharedList.from_json(cast(bytes, raw)) if raw else None

    async def keep_view(self, token: str, shown: SharedList) -> None:
        """Keep the list as it is shown, now and then."""
        now = time.monotonic()
        if now - self._written.get(token, -_VIEW_REFRESH_SECONDS) < _VIEW_REFRESH_SECONDS:
            return
        if len(self._written) >= _REMEMBERED_VIEWS:
            self._written.clear()
        self._written[token] = now
        await self._gate.call(lambda redis: redis.set(view_key(token), shown.to_json(), ex=self._ttl))

    async def keep_version(self, token: str, version: str) -> None:
        """Keep that a share's picture is given out as *version*, once for each process."""
        if (token, version) in self._given:
            return

        async def run(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipe:
                pipe.sadd(versions_key(token), version)
                pipe.expire(versions_key(token), VERSIONS_SECONDS)
                await pipe.execute()

        await self._gate.call(run)
        self._given[token, version] = None

    async def versions(self, token: str) -> set[str]:
        """By which versions the share's picture was given out."""
        return await self._gate.call(lambda redis: given_versions(redis, token))

    async def remember_added(self, user: str, item: str, copy: bytes) -> bytes:
        """Keep a copied item until the persist agent has surely written it; returns what was kept first."""

        async def run(redis: Redis) -> bytes:
            return await cast(Awaitable[bytes], redis.eval(_ADD, 1, added_key(user), item, copy, self._ttl))

        return await self._gate.call(run)

    async def correct_added(self, user: str, item: str, copy: bytes) -> None:
        """Keep *copy* in the place of what was kept."""
        await self._gate.call(lambda redis: redis.hset(added_key(user), item, copy.decode()))

    async def recently_added(self, user: str) -> dict[str, bytes]:
        """A reader's last copies, by item."""

        async def run(redis: Redis) -> dict[bytes, bytes]:
            return await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(added_key(user)))

        return {item.decode(): answer for item, answer in (await self._gate.call(run)).items()}

    async def recent(self, wishlist_id: UUID) -> list[Share]:
        """Shares of a list that were made lately, newest first; revoked ones are left out."""

        async def run(redis: Redis) -> list[bytes | None]:
            tokens = cast("list[bytes]", await redis.zrevrange(recent_key(wishlist_id), 0, 199))
            keys = [share_key(token.decode()) for token in tokens]
            return cast("list[bytes | None]", await redis.mget(keys)) if keys else []

        found = await self._gate.call(run)
        return [Share.from_json(raw) for raw in found if raw and raw != TOMBSTONE]

    def _ttl_of(self, share: Share) -> int:
        if share.expires_at is None:
            return self._ttl
        left = (share.expires_at - datetime.now(UTC)).total_seconds()
        return max(1, min(self._ttl, int(left)))
