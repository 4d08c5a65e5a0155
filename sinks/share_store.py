"""Shares in PostgreSQL: rows, counters, revocations, expiries, visibility and copied items, each event once.

Every statement writes a whole batch. The effects do not depend on the order in which events of one share arrive:
any event can create the row, revoked and expired absorb, and settings and toggles go to the newest
(event time, event id).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from schemas.event import EventType, ShareEvent
from schemas.ids import public_item_id, public_wishlist_id
from sinks import postgres
from sinks.contract import Applied, Batch

GROUP = "share-store-wishlist-social"


class ShareStore(postgres.PostgresSink):
    """The sink of the persist agent."""

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        known = [event for event in batch.events if event.event_type is not EventType.UNKNOWN]
        fresh = await postgres.unseen(connection, self.group, known)
        await write(connection, fresh)
        return Applied(len(fresh), len(batch.events) - len(fresh))


async def write(connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> None:
    """Write the effects of *events*, none of which has been written before."""
    if not events:
        return
    known = await _ensure_shares(connection, events)
    by_type: dict[EventType, list[ShareEvent]] = defaultdict(list)
    for event in events:
        if event.share_id in known:
            by_type[event.event_type].append(event)
    if created := by_type[EventType.CREATED]:
        await _describe(connection, created)
    if settings := by_type[EventType.SETTINGS_CHANGED]:
        await _settings(connection, settings)
    visibility = [
        (event.share_id, item, False, event.timestamp, event.event_id)
        for event in by_type[EventType.CREATED]
        for item in event.hidden_item_ids
    ] + [
        (event.share_id, event.wishlist_item_id, event.item_visible, event.timestamp, event.event_id)
        for event in by_type[EventType.SETTINGS_CHANGED]
        if event.wishlist_item_id is not None and event.item_visible is not None
    ]
    if visibility:
        await _toggle(connection, visibility)
    copied = await _copy_items(connection, by_type[EventType.ITEM_ADDED]) if by_type[EventType.ITEM_ADDED] else {}
    await _count(connection, [event for of_type in by_type.values() for event in of_type], copied)


async def _ensure_shares(connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> set[UUID]:
    """A row for each share that any event speaks of, unless its list or owner is gone; returns those there are."""
    by_id = {event.share_id: event for event in reversed(events)}
    rows = await connection.fetch("SELECT id FROM wishlist_shares WHERE id = ANY($1::uuid[])", list(by_id))
    known = {row["id"] for row in rows}
    shares = [event for share, event in by_id.items() if share not in known]
    if not shares:
        return known
    rows = await connection.fetch(
        """INSERT INTO wishlist_shares
               (id, wishlist_id, share_token, created_by, expires_at, share_channel, created_at, updated_at)
           SELECT s.id, s.wishlist_id, s.token, s.owner, s.expires_at, s.channel, s.at, s.at
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::text[],
                       $7::timestamptz[]) AS s(id, wishlist_id, token, owner, expires_at, channel, at)
           JOIN wishlists w ON w.id = s.wishlist_id JOIN users u ON u.id = s.owner
           ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id RETURNING wishlist_shares.id""",
        [e.share_id for e in shares],
        [e.wishlist_id for e in shares],
        [e.share_token for e in shares],
        [e.user_id for e in shares],
        [e.expires_at for e in shares],
        [str(e.share_channel) for e in shares],
        [e.timestamp for e in shares],
    )
    return known | {row["id"] for row in rows}


async def _describe(connection: PoolConnectionProxy, created: Sequence[ShareEvent]) -> None:
    """What only ``share_created`` knows, also where another event made the row first."""
    await connection.execute(
        """UPDATE wishlist_shares t
           SET created_at = s.at, message = s.message, share_channel = s.channel, variant = s.variant,
               expires_at = CASE WHEN t.settings_at IS NULL THEN s.expires_at ELSE t.expires_at END
           FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
                AS s(id, at, message, channel, expires_at, variant)
           WHERE t.id = s.id""",
        [e.share_id for e in created],
        [e.timestamp for e in created],
        [e.message for e in created],
        [str(e.share_channel) for e in created],
        [e.expires_at for e in created],
        [e.variant for e in created],
    )


async def _settings(connection: PoolConnectionProxy, changes: Sequence[ShareEvent]) -> None:
    """A share's expiry and snapshot, by the newest word on it."""
    newest: dict[UUID, ShareEvent] = {}
    for event in changes:
        if event.wishlist_item_id is None:
            held = newest.get(event.share_id)
            if held is None or (event.timestamp, event.event_id) > (held.timestamp, held.event_id):
                newest[event.share_id] = event
    await connection.execute(
        """UPDATE wishlist_shares t SET expires_at = s.expires_at, settings_at = s.at, settings_event = s.event_id,
               snapshot_items = string_to_array(s.items, ' ')::uuid[]
           FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::text[])
                AS s(id, expires_at, at, event_id, items)
           WHERE t.id = s.id AND (t.settings_at IS NULL OR (t.settings_at, t.settings_event) < (s.at, s.event_id))""",
        [e.share_id for e in newest.values()],
        [e.expires_at for e in newest.values()],
        [e.timestamp for e in newest.values()],
        [e.event_id for e in newest.values()],
        # PostgreSQL has no arrays of arrays of different lengths.
        [None if e.snapshot_item_ids is None else " ".join(map(str, e.snapshot_item_ids)) for e in newest.values()],
    )


async def _toggle(
    connection: PoolConnectionProxy, words: Sequence[tuple[UUID, UUID | None, bool | None, datetime, UUID]]
) -> None:
    newest: dict[tuple[UUID, UUID | None], tuple[bool | None, datetime, UUID]] = {}
    for share, item, visible, at, event_id in words:
        held = newest.get((share, item))
        if held is None or (at, event_id) > held[1:]:
            newest[share, item] = (visible, at, event_id)
    await connection.execute(
        """INSERT INTO share_item_visibility AS t (share_id, item_id, visible, changed_at, event_id)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::timestamptz[], $5::uuid[])
           ON CONFLICT (share_id, item_id) DO UPDATE
           SET visible = EXCLUDED.visible, changed_at = EXCLUDED.changed_at, event_id = EXCLUDED.event_id
           WHERE (t.changed_at, t.event_id) < (EXCLUDED.changed_at, EXCLUDED.event_id)""",
        [share for share, _ in newest],
        [item for _, item in newest],
        [visible for visible, _, _ in newest.values()],
        [at for _, at, _ in newest.values()],
        [event_id for _, _, event_id in newest.values()],
    )


async def _copy_items(connection: PoolConnectionProxy, added: Sequence[ShareEvent]) -> dict[UUID, int]:
    """Copy items into readers' lists; returns how many new ones each share brought."""
    counts: dict[UUID, int] = defaultdict(int)
    copies: dict[UUID, ShareEvent] = {}
    for event in added:
        if event.wishlist_item_id and event.recipient_wishlist_id and event.product_id:
            copies.setdefault(event.wishlist_item_id, event)
        else:  # version 1 events say that an item was copied, not which
            counts[event.share_id] += 1
    first_lists = {e.recipient_wishlist_id: e for e in copies.values() if e.created_wishlist}
    if first_lists:
        await connection.execute(
            """INSERT INTO wishlists (id, public_id, owner_id, title, created_at)
               SELECT l.id, l.public_id, u.id, 'My Wishlist', l.at
               FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS l(id, public_id, owner, at)
               JOIN users u ON u.id = l.owner ON CONFLICT (id) DO NOTHING""",
            list(first_lists),
            [public_wishlist_id(id_) for id_ in first_lists if id_],
            [e.recipient_user_id for e in first_lists.values()],
            [e.timestamp for e in first_lists.values()],
        )
    if copies:
        rows = await connection.fetch(
            """INSERT INTO wishlist_items (id, public_id, wishlist_id, product_id, source_share_id, added_at)
               SELECT c.id, c.public_id, c.list, c.product, c.share, c.at
               FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::timestamptz[])
                    AS c(id, public_id, list, product, share, at)
               JOIN wishlists w ON w.id = c.list JOIN products p ON p.id = c.product
               ON CONFLICT (id) DO NOTHING RETURNING source_share_id""",
            list(copies),
            [public_item_id(id_) for id_ in copies],
            [e.recipient_wishlist_id for e in copies.values()],
            [e.product_id for e in copies.values()],
            [e.share_id for e in copies.values()],
            [e.timestamp for e in copies.values()],
        )
        for row in rows:
            counts[row["source_share_id"]] += 1
    return counts


@dataclass(slots=True)
class Tally:
    """What one batch adds to one share."""

    newest: datetime
    views: int = 0
    raw: int = 0
    last_view: datetime | None = None
    revoked_at: datetime | None = None
    expired_at: datetime | None = None


def _tally(events: Sequence[ShareEvent]) -> dict[UUID, Tally]:
    """One tally a share."""
    tallies: dict[UUID, Tally] = {}
    for event in events:
        at = event.timestamp
        tally = tallies.get(event.share_id)
        if tally is None:
            tally = tallies[event.share_id] = Tally(at)
        elif at > tally.newest:
            tally.newest = at
        if event.event_type is EventType.VIEWED:
            tally.raw += 1
            if not event.is_bot:
                tally.views += 1
                tally.last_view = at if tally.last_view is None else max(tally.last_view, at)
        elif event.event_type is EventType.REVOKED:
            tally.revoked_at = at if tally.revoked_at is None else min(tally.revoked_at, at)
        elif event.event_type is EventType.EXPIRED:
            tally.expired_at = at if tally.expired_at is None else min(tally.expired_at, at)
    return tallies


async def _count(connection: PoolConnectionProxy, events: Sequence[ShareEvent], copied: Mapping[UUID, int]) -> None:
    """Views, visitors, copied items, revocations and expiries of each share, added up and written once."""
    if not events:
        return
    tallies = _tally(events)
    visitors = await _first_visits(connection, events)
    await connection.execute(
        """UPDATE wishlist_shares t SET
               view_count = t.view_count + c.views, raw_view_count = t.raw_view_count + c.raw,
               unique_viewers = t.unique_viewers + c.visitors, items_added = t.items_added + c.added,
               last_viewed_at = greatest(t.last_viewed_at, c.last_view),
               is_revoked = t.is_revoked OR c.revoked_at IS NOT NULL,
               revoked_at = least(t.revoked_at, c.revoked_at), expired_at = least(t.expired_at, c.expired_at),
               updated_at = greatest(t.updated_at, c.newest)
           FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[], $6::timestamptz[], $7::timestamptz[],
                       $8::timestamptz[], $9::timestamptz[])
                AS c(id, views, raw, visitors, added, last_view, revoked_at, expired_at, newest)
           WHERE t.id = c.id""",
        list(tallies),
        [tally.views for tally in tallies.values()],
        [tally.raw for tally in tallies.values()],
        [visitors.get(share, 0) for share in tallies],
        [copied.get(share, 0) for share in tallies],
        [tally.last_view for tally in tallies.values()],
        [tally.revoked_at for tally in tallies.values()],
        [tally.expired_at for tally in tallies.values()],
        [tally.newest for tally in tallies.values()],
    )


async def _first_visits(connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> Mapping[UUID, int]:
    """How many people each share had not seen before on the day of their visit (UTC)."""
    visits = {
        # Numbers sort and hash in C, UUIDs in Python. The order keeps two writers from waiting for each other.
        (event.share_id.int, event.timestamp.astimezone(UTC).date(), event.visitor_hash): event.share_id
        for event in events
        if event.visitor_hash and event.event_type is EventType.VIEWED and not event.is_bot
    }
    if not visits:
        return {}
    ordered = sorted(visits)
    rows = await connection.fetch(
        """WITH first AS (
               INSERT INTO share_visitors (share_id, day, visitor_hash)
               SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[])
               ON CONFLICT DO NOTHING RETURNING share_id)
           SELECT share_id, count(*) AS visitors FROM first GROUP BY share_id""",
        [visits[visit] for visit in ordered],
        [day for _, day, _ in ordered],
        [visitor for _, _, visitor in ordered],
    )
    return {row["share_id"]: row["visitors"] for row in rows}
