"""The outbox of deleted lists: ends their links where PostgreSQL's word does not reach, in Redis and the CDN.

With PostgreSQL there, such a link answers the one 404 at once. Redis stands in where PostgreSQL is away, and the CDN
keeps pages and pictures for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clients.cdn import CdnPurge, addresses_of
from clients.faults import Unavailable
from clients.links import end_list, given_versions
from clients.outbox_rows import Connection, Done, Later, Outcome
from clients.postgres import Database
from config.settings import ApiSettings
from streams.outbox.outbox import Outbox, Row, claiming
from streams.outbox.worker import OutboxWorker
from streams.outboxes import ENDED_LISTS


class EndedListOutbox(Outbox):
    """One row a deleted list; two at once do no harm, since ending twice is ending."""

    table = ENDED_LISTS
    claim_sql = claiming(
        ENDED_LISTS,
        due="parked_at IS NULL AND due_at <= now()",
        order="due_at",
        returning="share_tokens, attempts, failures",
    )
    at_once = 10
    longest_pause_seconds = 60.0

    def __init__(self, redis: Redis, settings: ApiSettings) -> None:
        self._redis = redis
        self._settings = settings
        self._cdn = CdnPurge(settings.purge_url)

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        try:
            tokens = await end_list(self._redis, row["id"], row["share_tokens"])
            versions = {token: await given_versions(self._redis, token) for token in tokens}
        except (RedisError, OSError) as error:
            raise Unavailable("Redis", f"{type(error).__name__}: {error}") from error
        urls = [url for token in sorted(tokens) for url in addresses_of(self._settings, token, versions[token])]
        if urls and not await self._cdn.purged(*urls):
            return [Later("the CDN's hook does not take the pages to forget")]
        return [Done()]

    async def note_done(self, connection: Connection, owner: str, done: Sequence[tuple[Row, Done]]) -> None:
        """See :meth:`streams.outbox.outbox.Outbox.note_done`."""
        await connection.execute(
            "DELETE FROM ended_lists WHERE wishlist_id = ANY($1::uuid[]) AND lease_owner = $2",
            [row["id"] for row, _ in done],
            owner,
        )

    async def end_now(self, database: Database, lists: Sequence[UUID]) -> str | None:
        """End the links of *lists* without waiting for a worker; the reason why some are left, None where none is."""
        pool, worker = await database.pool(), OutboxWorker(self, database)
        await pool.execute("UPDATE ended_lists SET due_at = now() WHERE wishlist_id = ANY($1::uuid[])", lists)
        while await worker.round():
            pass
        left: str | None = await pool.fetchval(
            """SELECT coalesce(max(reason), 'a worker is ending them') FROM ended_lists
               WHERE wishlist_id = ANY($1::uuid[]) HAVING count(*) > 0""",
            lists,
        )
        return left

    async def close(self) -> None:
        """Close the connections to the CDN's hook."""
        await self._cdn.close()
