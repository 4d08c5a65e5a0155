"""Deletes one wishlist, as the shop would, and sees to it at once that nothing of it can be reached any more."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ApiSettings, ObjectStoreSettings, RedisSettings, load
from streams.outbox.worker import OutboxWorker
from streams.previews.purging import PurgeOutbox
from streams.shares.ended_lists import EndedListOutbox


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
    outbox = EndedListOutbox(redis, load(ApiSettings))
    try:
        if left := await outbox.end_now(database, [wishlist]):
            waits.append(f"links wait to be ended: {left}")
    finally:
        await outbox.close()
        await redis.aclose()
    purge = OutboxWorker(PurgeOutbox(ObjectStore(load(ObjectStoreSettings))), database)
    while await purge.round():
        pass
    unpurged = """SELECT max(coalesce(purge_reason, 'a worker is at it')) FROM previews
                  WHERE wishlist_id = $1 AND purged_at IS NULL"""
    if left := await pool.fetchval(unpurged, wishlist):
        waits.append(f"pictures wait to be removed: {left}")
    return Deleted(links, waits)
