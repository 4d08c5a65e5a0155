"""Deletes one wishlist, as the shop would, and sees to it at once that nothing of it can be reached any more."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients.objects import ObjectStore, ObjectStoreError
from clients.postgres import Database
from config.settings import ApiSettings, ObjectStoreSettings, RedisSettings, load
from streams.ended_lists import EndedLists
from streams.preview_purge import PreviewPurge


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many links the list had, and what the agents have still to do about it, in words."""

    links: int
    waits: list[str]


async def delete_list(database: Database, public_id: str) -> Deleted | None:
    """Delete the list with that public id; None where there is none.

    The row's deletion ends its shares (trigger ``end_shares``); what is slow or away is left to the agents.
    """
    pool = await database.pool()
    async with pool.acquire() as connection, connection.transaction():
        wishlist = await connection.fetchval("DELETE FROM wishlists WHERE public_id = $1 RETURNING id", public_id)
        if wishlist is None:
            return None
        links: int = await connection.fetchval(
            "SELECT cardinality(share_tokens) FROM ended_lists WHERE wishlist_id = $1", wishlist
        )
    waits = []
    redis = Redis.from_url(load(RedisSettings).url, socket_connect_timeout=5)
    ended = EndedLists(database, redis, load(ApiSettings))
    try:
        while await ended.round():
            pass
        if await pool.fetchval("SELECT count(*) FROM ended_lists WHERE wishlist_id = $1", wishlist):
            waits.append("the CDN's hook does not take the pages to forget")
    except (RedisError, OSError) as error:
        waits.append(f"Redis does not answer ({error})")
    finally:
        await ended.close()
        await redis.aclose()
    try:
        while await PreviewPurge(database, ObjectStore(load(ObjectStoreSettings))).round(pool):
            pass
    except ObjectStoreError as error:
        waits.append(f"the bucket does not answer ({error})")
    return Deleted(links, waits)
