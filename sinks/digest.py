"""What the next digest of each owner will tell, counted in PostgreSQL: human views, people, and items added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from schemas.event import EventType, ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch

GROUP = "notification-service-social-digest"


class DigestCounts(postgres.PostgresSink):
    """The sink of the digest agent."""

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        wanted = [event for event in batch.events if is_told(event)]
        fresh = await postgres.unseen(connection, self.group, wanted)
        fresh = await postgres.of_lists_there(connection, fresh)
        known = await _await_digests(connection, sorted({event.user_id for event in fresh}))
        counted = [event for event in fresh if event.user_id in known]
        if counted:
            await _count(connection, counted)
        return Applied(len(counted), len(batch.events) - len(counted))


def is_told(event: ShareEvent) -> bool:
    """Whether owners are told of it: people's views, and items that others have added."""
    return event.is_by_person or event.is_by_others


async def _await_digests(connection: PoolConnectionProxy, owners: Sequence[UUID]) -> set[UUID]:
    """See to a row for each owner whose counts wait; those there are. Whoever closes an owner's day is waited for."""
    if not owners:
        return set()
    await connection.execute(
        """INSERT INTO digest_owners AS o (owner_id, is_pending)
           SELECT u.id, true FROM unnest($1::uuid[]) WITH ORDINALITY AS of(id, place)
           JOIN users u ON u.id = of.id ORDER BY of.place
           ON CONFLICT (owner_id) DO UPDATE SET is_pending = true WHERE NOT o.is_pending""",
        owners,
    )
    rows = await connection.fetch("SELECT owner_id FROM digest_owners WHERE owner_id = ANY($1::uuid[])", owners)
    return {row["owner_id"] for row in rows}


async def _count(connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> None:
    counts: dict[tuple[UUID, UUID, str, str], Counter[EventType]] = {}
    for event in events:
        key = (event.user_id, event.share_id, event.country, str(event.share_channel))
        counts.setdefault(key, Counter())[event.event_type] += 1
    keys = sorted(counts)
    await connection.execute(
        """INSERT INTO digest_counts AS c (owner_id, share_id, country, channel, views, items)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::int[])
           ON CONFLICT (owner_id, share_id, country, channel) DO UPDATE
           SET views = c.views + EXCLUDED.views, items = c.items + EXCLUDED.items""",
        *map(list, zip(*keys, strict=True)),
        [counts[key][EventType.VIEWED] for key in keys],
        [counts[key][EventType.ITEM_ADDED] for key in keys],
    )
    visitors = sorted({(e.user_id, e.share_id, e.visitor_hash) for e in events if e.visitor_hash is not None})
    if visitors:
        await connection.execute(
            """INSERT INTO digest_visitors (owner_id, share_id, visitor_hash)
               SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) ON CONFLICT DO NOTHING""",
            *map(list, zip(*visitors, strict=True)),
        )
