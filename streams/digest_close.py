"""Closes owners' days at nine by their own clocks: what is counted by then becomes a digest in the outbox.

Closing is one transaction for many owners. Whatever ends it early leaves everything as it was; two at once take
different owners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from config.settings import DigestSettings
from notifications.digest import by_owner, content_of, digest_id
from notifications.schedule import day_to_close, next_close
from streams.owner_zone import owner_zone

_AT_ONCE = 500
_RETRY_SECONDS = 1.0

_UNPLANNED = """
    SELECT o.owner_id, o.last_day, u.time_zone FROM digest_owners o JOIN users u ON u.id = o.owner_id
    WHERE o.is_pending AND o.due_at IS NULL LIMIT $1 FOR UPDATE OF o SKIP LOCKED"""
_DUE = """
    SELECT o.owner_id, o.last_day, u.time_zone, u.locale, u.public_id, u.display_name,
           coalesce(p.enabled, true) AS wanted
    FROM digest_owners o JOIN users u ON u.id = o.owner_id
    LEFT JOIN notification_preferences p ON (p.user_id, p.category, p.channel) = (u.id, 'social', 'digest')
    WHERE o.is_pending AND o.due_at <= $2 ORDER BY o.due_at LIMIT $1 FOR UPDATE OF o SKIP LOCKED"""
# Only the shares that are named need titles; those are few of what an owner may have.
_TITLES = """
    SELECT s.id, w.title FROM wishlist_shares s JOIN wishlists w ON w.id = s.wishlist_id WHERE s.id = ANY($1::uuid[])"""
_DAYS_BEFORE = """
    SELECT d.owner_id, d.content->'totals' AS totals
    FROM unnest($1::uuid[], $2::date[]) AS of(owner_id, day)
    JOIN digests d ON d.owner_id = of.owner_id AND d.local_date = of.day - 1"""


@dataclass(frozen=True)
class Closed:
    """What one round did: days closed, digests written, owners planned."""

    days: int
    digests: int
    planned: int


class DigestCloser:
    """*clock* says what time it is (aware)."""

    def __init__(
        self, database: Database, settings: DigestSettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """Close until cancelled."""
        while True:
            try:
                done = await self.round()
                if not done.days and not done.planned:
                    await asyncio.sleep(self._settings.check_seconds)
            except FAULTS as error:
                get_logger().warning("closing days waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def round(self) -> Closed:
        """Plan those who are not planned, close those who are due; a batch of each."""
        now = self._clock()
        async with (await self._database.pool()).acquire() as connection:
            async with connection.transaction():
                planned = await self._plan(connection, await connection.fetch(_UNPLANNED, _AT_ONCE), now)
            async with connection.transaction():
                days, digests = await self._close(connection, await connection.fetch(_DUE, _AT_ONCE, now), now)
        return Closed(days, digests, planned)

    async def _plan(self, connection: PoolConnectionProxy, owners: Sequence[asyncpg.Record], now: datetime) -> int:
        if owners:
            await connection.execute(
                """UPDATE digest_owners o SET due_at = of.due_at FROM unnest($1::uuid[], $2::timestamptz[])
                   AS of(owner_id, due_at) WHERE o.owner_id = of.owner_id""",
                [owner["owner_id"] for owner in owners],
                [
                    next_close(now, owner_zone(owner["time_zone"], metrics.DIGESTS), owner["last_day"])
                    for owner in owners
                ],
            )
        return len(owners)

    async def _close(
        self, connection: PoolConnectionProxy, owners: Sequence[asyncpg.Record], now: datetime
    ) -> tuple[int, int]:
        found = [
            (owner, day_to_close(now, owner_zone(owner["time_zone"], metrics.DIGESTS), owner["last_day"]))
            for owner in owners
        ]
        # Whose clock shows another day by now, after a pause of ours or a move of theirs: their next nine.
        await self._plan(connection, [owner for owner, day in found if day is None], now)
        closing = {owner["owner_id"]: owner for owner, day in found if day is not None}
        days = {owner["owner_id"]: day for owner, day in found if day is not None}
        if not closing:
            return 0, 0
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
            """UPDATE digest_owners o SET is_pending = false, due_at = NULL, last_day = of.day
               FROM unnest($1::uuid[], $2::date[]) AS of(owner_id, day) WHERE o.owner_id = of.owner_id""",
            ids,
            dates,
        )
        metrics.DIGESTS.labels("written").inc(len(written))
        metrics.DIGESTS.labels("not_wanted").inc(sum(not owner["wanted"] for owner in closing.values()))
        return len(closing), len(written)

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
