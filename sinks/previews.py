"""Previews asked for, as rows: rendering is slow and outside, so it is a relay's work (DESIGN 3)."""

from __future__ import annotations

from collections.abc import Mapping

from clients.postgres import Database
from schemas.event import EventType, ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch, Partition

GROUP = "preview-renderer-wishlist-social"

# What an event asks of a share's picture; other events leave it as it is.
WANTED = {EventType.CREATED: "due", EventType.SETTINGS_CHANGED: "due", EventType.REVOKED: "withdrawn"}


class PreviewQueue:
    """The sink of the preview agent: one row a share, due or withdrawn."""

    def __init__(self, database: Database, group: str = GROUP) -> None:
        self.group = group
        self._database = database

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """See :meth:`sinks.contract.Sink.positions`."""
        return await postgres.read_positions(self._database, self.group, starts)

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        async with postgres.transaction(self._database) as connection:
            await postgres.move_watermarks(connection, self.group, batch.moves)
            wanted = [event for event in batch.events if event.event_type in WANTED]
            fresh = await postgres.unseen(connection, self.group, wanted)
            rows = _one_per_share(fresh)
            if rows:
                await connection.execute(
                    """INSERT INTO previews AS p (share_id, share_token, wishlist_id, state, due_at)
                       SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[])
                       ON CONFLICT (share_id) DO UPDATE
                       SET state = CASE WHEN p.state = 'withdrawn' THEN p.state ELSE EXCLUDED.state END,
                           due_at = least(p.due_at, EXCLUDED.due_at), attempts = 0""",
                    [event.share_id for event in rows],
                    [event.share_token for event in rows],
                    [event.wishlist_id for event in rows],
                    [WANTED[event.event_type] for event in rows],
                    [event.timestamp for event in rows],
                )
        return Applied(len(fresh), len(batch.events) - len(fresh))


def _one_per_share(events: list[ShareEvent]) -> list[ShareEvent]:
    """The last word on each share, where a withdrawal is the last whatever comes after it."""
    last: dict[object, ShareEvent] = {}
    for event in events:
        held = last.get(event.share_id)
        if held is None or held.event_type is not EventType.REVOKED:
            last[event.share_id] = event
    return list(last.values())
