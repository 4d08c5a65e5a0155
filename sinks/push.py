"""What owners are told of at once: items that others add from their shared wishlists. Rows for a relay to send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from clients.postgres import Database
from config.settings import PushSettings
from schemas.event import ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch

GROUP = "notification-service-social-push"

# Owners that are gone are told nothing. While an owner's push waits, what is added meanwhile goes into it.
_TELL = """
    INSERT INTO pushes AS p (owner_id, wishlist_id, items, product_id, happened_at, due_at)
    SELECT of.owner_id, of.wishlist_id, of.items, of.product_id, of.happened_at,
           greatest(now(), (SELECT max(told_at) + make_interval(secs => $6) FROM pushes t
                            WHERE t.state = 'told' AND (t.owner_id, t.wishlist_id) = (of.owner_id, of.wishlist_id)))
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::timestamptz[])
         AS of(owner_id, wishlist_id, items, product_id, happened_at)
    JOIN users u ON u.id = of.owner_id
    ON CONFLICT (owner_id, wishlist_id) WHERE state = 'due' DO UPDATE
    SET items = p.items + EXCLUDED.items, happened_at = greatest(p.happened_at, EXCLUDED.happened_at),
        product_id = CASE WHEN p.product_id = EXCLUDED.product_id THEN p.product_id END"""


class PushQueue(postgres.PostgresSink):
    """The sink of the push agent."""

    def __init__(self, database: Database, group: str, settings: PushSettings | None = None) -> None:
        super().__init__(database, group)
        self._settings = settings or PushSettings()

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        # Nobody wants to hear today of what a replay brings from last month.
        since = datetime.now(UTC) - timedelta(seconds=self._settings.latest_seconds)
        wanted = [event for event in batch.events if event.is_by_others and event.timestamp >= since]
        fresh = await postgres.unseen(connection, self.group, wanted)
        told = await postgres.of_lists_there(connection, fresh)
        if told:
            await self._tell(connection, told)
        return Applied(len(told), len(batch.events) - len(told))

    async def _tell(self, connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> None:
        by_list: dict[tuple[UUID, UUID], list[ShareEvent]] = {}
        for event in events:
            by_list.setdefault((event.user_id, event.wishlist_id), []).append(event)
        # In one order for all: two workers that tell the same owners wait for each other, not in a circle.
        keys = sorted(by_list)
        await connection.execute(
            _TELL,
            [owner for owner, _ in keys],
            [wishlist for _, wishlist in keys],
            [len(by_list[key]) for key in keys],
            [_only_product(by_list[key]) for key in keys],
            [max(event.timestamp for event in by_list[key]) for key in keys],
            self._settings.collapse_seconds,
        )


def _only_product(events: Sequence[ShareEvent]) -> str | None:
    products = {event.product_id for event in events}
    return products.pop() if len(products) == 1 else None
