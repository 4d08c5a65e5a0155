"""Ends the links of lists that were deleted, by whomever, where PostgreSQL's word does not reach: in Redis and the CDN.

With PostgreSQL there, such a link answers the one 404 at once. Redis stands in where PostgreSQL is away, and the CDN
keeps pages and pictures for a while.
"""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients.cdn import CdnPurge, picture_url, share_url
from clients.links import end_list
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from config.settings import ApiSettings

_IDLE_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_AT_ONCE = 50


class EndedLists:
    """Works off ``ended_lists``; two at once do no harm, since ending twice is ending."""

    def __init__(self, database: Database, redis: Redis, settings: ApiSettings) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings
        self._cdn = CdnPurge(settings.purge_url)

    async def run(self) -> None:
        """End links until cancelled."""
        while True:
            try:
                if not await self.round():
                    await asyncio.sleep(_IDLE_SECONDS)
            except (*FAULTS, RedisError) as error:
                get_logger().warning("links wait to be ended", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Close the connections to the CDN's hook."""
        await self._cdn.close()

    async def round(self) -> int:
        """End some; how many lists' links have ended."""
        pool = await self._database.pool()
        rows = await pool.fetch(
            "SELECT wishlist_id, share_tokens FROM ended_lists ORDER BY ended_at LIMIT $1", _AT_ONCE
        )
        done = []
        for row in rows:
            tokens = await end_list(self._redis, row["wishlist_id"], row["share_tokens"])
            urls = [address(self._settings, token) for token in sorted(tokens) for address in (share_url, picture_url)]
            if not urls or await self._cdn.purged(*urls):
                done.append(row["wishlist_id"])
        await pool.execute("DELETE FROM ended_lists WHERE wishlist_id = ANY($1::uuid[])", done)
        return len(done)
