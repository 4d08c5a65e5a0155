"""Closes owners' days at nine by their own clocks: what is counted by then becomes a digest in the outbox.

Closing is one transaction for many owners. An end at any point leaves everything as it was; an owner whose day cannot
be closed costs the others some more transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.postgres import Database
from config.settings import DigestSettings
from notifications.digest import by_owner, content_of, digest_id
from notifications.schedule import day_to_close, next_close
from streams.outbox.outbox import TransactionalOutbox, claiming, utc_now
from streams.outboxes import DIGEST_DAYS
from streams.owner_zone import owner_zone

_CLAIMED = """
    SELECT o.owner_id, o.due_at, o.last_day, u.time_zone, u.locale, u.public_id, u.display_name,
           coalesce(p.enabled, true) AS wanted
    FROM digest_owners o JOIN users u ON u.id = o.owner_id
    LEFT JOIN notification_preferences p ON (p.user_id, p.category, p.channel) = (u.id, 'social', 'digest')
    WHERE o.owner_id = ANY($1::uuid[]) AND o.lease_owner = $2 ORDER BY o.owner_id FOR UPDATE OF o"""
# Only the shares that are named need titles; those are few of what an owner may have.
_TITLES = """
    SELECT s.id, w.title FROM wishlist_shares s JOIN wishlists w ON w.id = s.wishlist_id WHERE s.id = ANY($1::uuid[])"""
_DAYS_BEFORE = """
    SELECT d.owner_id, d.content->'totals' AS totals
    FROM unnest($1::uuid[], $2::date[]) AS of(owner_id, day)
    JOIN digests d ON d.owner_id = of.owner_id AND d.local_date = of.day - 1"""


class ClosingOutbox(TransactionalOutbox):
    """One row an owner with counts: unplanned, or to be closed at ``due_at``."""

    table = DIGEST_DAYS
    claim_sql = claiming(
        DIGEST_DAYS,
        due="is_pending AND parked_at IS NULL AND coalesce(due_at, '-infinity') <= $4",
        order="coalesce(due_at, '-infinity')",
        returning="lease_owner, attempts, failures",
    )

    def __init__(self, database: Database, settings: DigestSettings, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(database, settings.check_seconds, clock)
        self._settings = settings

    async def settle(self, connection: PoolConnectionProxy, ids: Sequence[UUID], owner: str, now: datetime) -> None:
        """See :meth:`streams.outbox.outbox.TransactionalOutbox.settle`."""
        owners = await connection.fetch(_CLAIMED, ids, owner)
        await self._plan(connection, [owner for owner in owners if owner["due_at"] is None], now)
        await self._close(connection, [owner for owner in owners if owner["due_at"] is not None], now)

    async def _plan(self, connection: PoolConnectionProxy, owners: Sequence[asyncpg.Record], now: datetime) -> None:
        if not owners:
            return
        await connection.execute(
            """UPDATE digest_owners o SET due_at = of.due_at, attempts = 0, failures = 0, reason = NULL,
                      traceback = NULL, lease_owner = NULL, lease_until = NULL
               FROM unnest($1::uuid[], $2::timestamptz[]) AS of(owner_id, due_at) WHERE o.owner_id = of.owner_id""",
            [owner["owner_id"] for owner in owners],
            [next_close(now, owner_zone(owner["time_zone"], metrics.DIGESTS), owner["last_day"]) for owner in owners],
        )

    async def _close(self, connection: PoolConnectionProxy, owners: Sequence[asyncpg.Record], now: datetime) -> None:
        found = [
            (owner, day_to_close(now, owner_zone(owner["time_zone"], metrics.DIGESTS), owner["last_day"]))
            for owner in owners
        ]
        # After a pause of ours or a move of theirs an owner's clock may show another day: then their next nine.
        await self._plan(connection, [owner for owner, day in found if day is None], now)
        closing = {owner["owner_id"]: owner for owner, day in found if day is not None}
        days = {owner["owner_id"]: day for owner, day in found if day is not None}
        if not closing:
            return
        ids, dates = list(days), list(days.values())
        contents = await self._contents(connection, ids, dates)
        written = [owner for owner in ids if contents[owner] is not None and closing[owner]["wanted"]]
        await connection.execute(
            """INSERT INTO digests (id, owner_id, local_date, content, due_at)
               SELECT id, owner_id, day, content, $5
               FROM unnest($1::uuid[], $2::uuid[], $3::date[], $4::jsonb[]) AS of(id, owner_id, day, content)""",
            [digest_id(owner, days[owner]) for owner in written],
            written,
            [days[owner] for owner in written],
            [_json(closing[owner], days[owner], contents[owner]) for owner in written],
            now,
        )
        await connection.execute(
            """UPDATE digest_owners o SET is_pending = false, due_at = NULL, last_day = of.day, attempts = 0,
                      failures = 0, reason = NULL, traceback = NULL, lease_owner = NULL, lease_until = NULL
               FROM unnest($1::uuid[], $2::date[]) AS of(owner_id, day) WHERE o.owner_id = of.owner_id""",
            ids,
            dates,
        )
        metrics.DIGESTS.labels("written").inc(len(written))
        metrics.DIGESTS.labels("not_wanted").inc(sum(not owner["wanted"] for owner in closing.values()))

    async def _contents(
        self, connection: PoolConnectionProxy, owners: Sequence[UUID], dates: Sequence[date]
    ) -> dict[UUID, dict[str, Any] | None]:
        """Take what is counted for *owners*: each count goes into one digest, and is gone from here."""
        counts = by_owner(
            await connection.fetch("DELETE FROM digest_counts WHERE owner_id = ANY($1::uuid[]) RETURNING *", owners)
        )
        people = await connection.fetch(
            """WITH gone AS (DELETE FROM digest_visitors WHERE owner_id = ANY($1::uuid[]) RETURNING owner_id, share_id)
               SELECT owner_id, share_id, count(*) AS people FROM gone GROUP BY owner_id, share_id""",
            owners,
        )
        by_share: dict[UUID, dict[UUID, int]] = {}
        for row in people:
            by_share.setdefault(row["owner_id"], {})[row["share_id"]] = row["people"]
        before = {
            row["owner_id"]: orjson.loads(row["totals"]) for row in await connection.fetch(_DAYS_BEFORE, owners, dates)
        }
        contents = {
            owner: content_of(
                counts.get(owner, []), by_share.get(owner, {}), {}, before.get(owner), self._settings.most_shares
            )
            for owner in owners
        }
        await _name_shares(connection, [content for content in contents.values() if content is not None])
        return contents


async def _name_shares(connection: PoolConnectionProxy, contents: Sequence[dict[str, Any]]) -> None:
    shares = [share for content in contents for share in content["shares"]]
    rows = await connection.fetch(_TITLES, [UUID(share["share_id"]) for share in shares])
    titles = {str(row["id"]): row["title"] for row in rows}
    for share in shares:
        share["title"] = titles.get(share["share_id"], "")


def _json(owner: asyncpg.Record, day: date, content: Mapping[str, Any] | None) -> str:
    about = {
        "date": day.isoformat(),
        "user_id": owner["public_id"],
        "name": owner["display_name"],
        "locale": owner["locale"],
        "time_zone": owner["time_zone"],
    }
    return orjson.dumps({**about, **(content or {})}).decode()
