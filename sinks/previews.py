"""Previews asked for, as rows: rendering is slow and outside, so it is a relay's work (DESIGN 3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from schemas.event import EventType, ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch

GROUP = "preview-renderer-wishlist-social"

# Spec: cards are cached for 24 hours.
FRESH_FOR = timedelta(hours=24)

# What an event asks of a share's picture; other events leave it as it is.
WANTED = {EventType.CREATED: "due", EventType.SETTINGS_CHANGED: "due", EventType.REVOKED: "withdrawn"}


class PreviewQueue(postgres.PostgresSink):
    """The sink of the preview agent: one row a share, due or withdrawn. Lists that are gone get none.

    Whoever deletes a list meanwhile waits, and finds the rows that are written here.
    """

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        wanted = [event for event in batch.events if event.event_type in WANTED]
        fresh = await postgres.unseen(connection, self.group, wanted)
        rows = _one_per_share(fresh)
        if rows:
            await connection.execute(
                """INSERT INTO previews AS p (share_id, share_token, wishlist_id, state, due_at)
                   SELECT n.* FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[])
                        AS n(share_id, share_token, wishlist_id, state, due_at)
                   JOIN (SELECT id FROM wishlists WHERE id = ANY($3::uuid[]) ORDER BY id FOR KEY SHARE) w
                     ON w.id = n.wishlist_id
                   ON CONFLICT (share_id) DO UPDATE
                   SET state = CASE WHEN p.state = 'withdrawn' THEN p.state ELSE EXCLUDED.state END,
                       due_at = least(p.due_at, EXCLUDED.due_at), attempts = 0, fallback = 'wanted',
                       failures = 0, parked_at = NULL, fallback_failures = 0, fallback_parked_at = NULL""",
                [event.share_id for event in rows],
                [event.share_token for event in rows],
                [event.wishlist_id for event in rows],
                [WANTED[event.event_type] for event in rows],
                [event.timestamp for event in rows],
            )
        await self._refresh(connection, batch.events)
        return Applied(len(fresh), len(batch.events) - len(fresh))

    async def _refresh(self, connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> None:
        """Ask anew for pictures that were a day old when their share was viewed, or that were given up before.

        Where a fallback was seen, the view is what the share waits by: the renderer takes the oldest first.

        The renderer knows unchanged content by its hash. Views read again are older than the picture they led to.
        """
        latest: dict[UUID, datetime] = {}
        for event in events:
            if event.event_type is EventType.VIEWED:
                latest[event.share_id] = max(latest.get(event.share_id, event.timestamp), event.timestamp)
        if latest:
            await connection.execute(
                """UPDATE previews p SET state = 'due', due_at = v.at,
                          attempts = CASE WHEN p.state = 'due' THEN p.attempts ELSE 0 END
                   FROM unnest($1::uuid[], $2::timestamptz[]) AS v(share_id, at)
                   WHERE p.share_id = v.share_id
                     AND (p.state = 'done' AND p.rendered_at < v.at - $3::interval
                          OR p.state = 'swept' AND p.swept_at < v.at
                          OR p.state = 'due' AND p.fallback = 'drawn' AND p.due_at < v.at AND p.due_at <= now())""",
                list(latest),
                list(latest.values()),
                FRESH_FOR,
            )


def _one_per_share(events: list[ShareEvent]) -> list[ShareEvent]:
    """The last word on each share, where a withdrawal is the last whatever comes after it."""
    last: dict[UUID, ShareEvent] = {}
    for event in events:
        held = last.get(event.share_id)
        if held is None or held.event_type is not EventType.REVOKED:
            last[event.share_id] = event
    return list(last.values())
