"""Removes the pictures of withdrawn and swept shares from the bucket, and all that was a deleted list's."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg

from clients.logs import get_logger
from clients.objects import ObjectStore, ObjectStoreError, content_key, preview_key
from clients.postgres import FAULTS, Database

_IDLE_SECONDS = 1.0
_AT_ONCE = 20
_LEASE_SECONDS = 60

# Under a lease, as rendering is: a share that is being rendered waits, because its picture would come after the purge,
# and none is rendered meanwhile, because the purge would take the new picture away.
_TAKE = """
    UPDATE previews SET lease_owner = $1, lease_until = now() + make_interval(secs => $2)
    WHERE share_id IN (
        SELECT share_id FROM previews
        WHERE state IN ('withdrawn', 'swept') AND purged_at IS NULL AND (lease_until IS NULL OR lease_until < now())
        LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING share_id, share_token, content_hash,
              NOT EXISTS (SELECT FROM wishlists w WHERE w.id = wishlist_id) AS is_gone"""
_PURGED = """
    UPDATE previews SET purged_at = now(), lease_owner = NULL, lease_until = NULL
    WHERE share_id = $1 AND lease_owner = $2"""
# Of a list that is gone nothing comes any more that must be kept from bringing the picture back.
_FORGET = "DELETE FROM previews WHERE share_id = $1 AND lease_owner = $2"


class PreviewPurge:
    """Works off withdrawn and swept rows."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._owner = uuid4().hex

    async def run(self) -> None:
        """Purge until cancelled."""
        while True:
            try:
                purged = await self.round(await self._database.pool())
            except (*FAULTS, ObjectStoreError) as error:
                get_logger().warning("pictures wait to be removed", error=f"{type(error).__name__}: {error}")
                purged = 0
            if not purged:
                await asyncio.sleep(_IDLE_SECONDS)

    async def round(self, pool: asyncpg.Pool) -> int:
        """Purge some; how many."""
        rows = await pool.fetch(_TAKE, self._owner, float(_LEASE_SECONDS), _AT_ONCE)
        for row in rows:
            await self._store.delete(preview_key(row["share_token"]))
            if row["is_gone"] and row["content_hash"] is not None:
                await self._store.delete(content_key(row["content_hash"]))
            await pool.execute(_FORGET if row["is_gone"] else _PURGED, row["share_id"], self._owner)
        return len(rows)
