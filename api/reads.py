"""Opening a share: Redis, PostgreSQL, outbox, in one code path.

PostgreSQL is the truth wherever it answers: one statement brings the share's row and the list as it is now. Redis
knows of shares that are not rows yet, of revocations at once, and stands in while PostgreSQL is away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from cachetools import TTLCache

from api.cache import Revoked, ShareCache
from api.database import Database
from api.errors import ServiceUnavailable, ShareNotFound
from api.limits import Held
from api.shares_model import Share, SharedList
from clients.faults import Unavailable
from clients.logs import get_logger
from schemas.codec import Codec, Origin
from schemas.event import Channel, EventType, ShareEvent

# A link that spreads is opened by many within a second. Some 5 KB each.
_RECENT_SECONDS = 1.0
_MOST_RECENT = 2_000
_TOKEN = re.compile(r"[0-9A-Za-z]{1,22}")

# The list as its readers see it. The newest word on an item decides; without one, an item is hidden if it was at
# creation ($2: the cache may know that before PostgreSQL does), or if a snapshot leaves it out.
_LIST = """
SELECT w.id AS wishlist_id, w.title, w.created_at AS listed_at, u.display_name, u.public_id AS owner_public_id,
       coalesce(l.items, '[]') AS items, l.item_count, l.total, l.currency,
       p.content_hash, {share},
       EXISTS (SELECT FROM event_outbox o WHERE o.share_token = $1 AND o.event_type = 'share_revoked') AS revoke_waits
FROM {source}
JOIN wishlists w ON w.id = s.wishlist_id
JOIN users u ON u.id = w.owner_id
LEFT JOIN previews p ON p.share_id = s.id
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object('product_id', c.id, 'name', c.name, 'price', c.price, 'currency', c.currency,
                                      'image_url', c.image_url, 'in_stock', c.in_stock)
                    ORDER BY i.added_at, i.id)::text AS items,
           count(*)::int AS item_count,
           CASE WHEN count(DISTINCT c.currency) <= 1 THEN coalesce(sum(c.price), 0.00)::text ELSE 'null' END AS total,
           CASE WHEN count(DISTINCT c.currency) = 1 THEN min(c.currency) END AS currency
    FROM wishlist_items i
    JOIN products c ON c.id = i.product_id
    LEFT JOIN share_item_visibility v ON v.share_id = s.id AND v.item_id = i.id
    WHERE i.wishlist_id = w.id AND i.removed_at IS NULL
      AND coalesce(v.visible,
                   i.id <> ALL($2::uuid[]) AND (s.snapshot_items IS NULL OR i.id = ANY(s.snapshot_items)))
) l
WHERE s.share_token = $1
"""
_ROW = """s.id AS share_id, s.created_by, s.share_channel, s.expires_at, s.expired_at, s.view_count, s.is_revoked,
       s.message, s.created_at, s.variant"""
BY_TOKEN = _LIST.format(share=_ROW, source="wishlist_shares s")
BY_WISHLIST = _LIST.format(
    share="0 AS view_count",
    source="""(SELECT $3::uuid AS id, $4::uuid AS wishlist_id, $1::text AS share_token,
                      NULL::uuid[] AS snapshot_items) s""",
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A share that may be seen, with the list it shows. *is_row*: PostgreSQL has the share already."""

    share: Share
    shown: SharedList
    is_row: bool


class ShareReader:
    """Opens shares."""

    def __init__(self, *, db: Database, cache: ShareCache, codec: Codec) -> None:
        self._db = db
        self._cache = cache
        self._codec = codec
        self._recent: TTLCache[str, tuple[bytes | None, Opened]] = TTLCache(_MOST_RECENT, _RECENT_SECONDS)

    async def open_recent(self, token: str, held: Held | None = None) -> Opened:
        """As :meth:`open`, as it was up to a second ago, where Redis answers and holds of the share what it held then.

        So whatever its owner does with the link counts at once.
        """
        held = held or await self._held(token)
        as_held, recent = self._recent.get(token, (None, None))
        if recent is not None and held.answers and held.value == as_held and recent.share.is_open(datetime.now(UTC)):
            return recent
        opened = await self.open(token, held)
        self._recent[token] = (held.value, opened)
        return opened

    async def open(self, token: str, held: Held | None = None) -> Opened:
        """The share under *token*; raises :class:`ShareNotFound`, or 503 where nothing that knows it answers.

        *held*: what Redis holds under :meth:`ShareCache.key_of`, where that has been read already.
        """
        if not _TOKEN.fullmatch(token):
            raise ShareNotFound
        cached, redis_answers = self._known(held or await self._held(token))
        try:
            opened = await self._from_database(token, cached)
        except Unavailable as error:
            get_logger().warning("a share is read without PostgreSQL", error=f"{type(error).__name__}: {error}")
            return await self._without_database(token, cached)
        if redis_answers:
            await self._remember(opened, missing=cached is None)
        return opened

    async def find(self, token: str) -> Share | None:
        """The share under *token* where it is not a row of PostgreSQL yet; None where nobody knows it, or revoked."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            cached, _ = self._known(await self._held(token))
        except ShareNotFound:
            return None
        return cached or await self._in_outbox(token)

    async def was_revoked(self, token: str, wishlist_id: UUID) -> bool:
        """Whether a share of this list is revoked that PostgreSQL has no row of yet."""
        if not _TOKEN.fullmatch(token):
            return False
        try:
            if await self._cache.buried_in(token) == wishlist_id:
                return True
        except Unavailable:
            get_logger().debug("the outbox alone tells of a revocation")
        waiting = await self.waiting_events("share_token = $1", token)
        return any(event.event_type is EventType.REVOKED and event.wishlist_id == wishlist_id for event in waiting)

    async def _held(self, token: str) -> Held:
        try:
            return Held(await self._cache.raw(token), answers=True)
        except Unavailable:
            return Held(None, answers=False)

    def _known(self, held: Held) -> tuple[Share | None, bool]:
        """The share that Redis holds, and whether it could be asked; raises :class:`ShareNotFound` for a tombstone."""
        try:
            return self._cache.share_in(held.value), held.answers
        except Revoked:
            raise ShareNotFound from None

    async def _from_database(self, token: str, cached: Share | None) -> Opened:
        hidden = cached.hidden_item_ids if cached else ()
        row = await self._row(BY_TOKEN, token, hidden)
        if row is not None:
            if row["is_revoked"] or row["expired_at"] is not None:
                raise ShareNotFound
            share = _share_of(token, row, hidden)
        else:
            found = cached or await self._in_outbox(token)
            if found is None:
                raise ShareNotFound
            share = found
            row = await self._row(BY_WISHLIST, token, share.hidden_item_ids, share.share_id, share.wishlist_id)
        if row is None or row["revoke_waits"] or not share.is_open(datetime.now(UTC)):
            raise ShareNotFound
        return Opened(share, _list_of(row), is_row="is_revoked" in row.keys())  # noqa: SIM118  # a record, not a dict

    async def _row(self, statement: str, token: str, hidden: Sequence[UUID], *more: UUID) -> asyncpg.Record | None:
        return await self._db.row(statement, token, list(hidden), *more)

    async def _in_outbox(self, token: str) -> Share | None:
        """The share that waits in the outbox under *token*; None where there is none, or where it is revoked."""
        created = None
        for event in await self.waiting_events("share_token = $1", token):
            if event.event_type is EventType.REVOKED:
                return None
            if event.event_type is EventType.CREATED:
                created = Share.of(event)
        return created

    async def waiting_events(self, condition: str, *arguments: Any) -> list[ShareEvent]:
        """Events of the outbox under *condition* (SQL of ours), oldest first."""
        rows = await self._db.rows(
            f"SELECT id, value, created_at FROM event_outbox WHERE {condition} ORDER BY id LIMIT 1000",
            *arguments,
        )
        return [
            self._codec.decode(row["value"], Origin("event_outbox", 0, row["id"], _ms(row["created_at"])))
            for row in rows
        ]

    async def _without_database(self, token: str, cached: Share | None) -> Opened:
        if cached is not None:
            if not cached.is_open(datetime.now(UTC)):
                raise ShareNotFound
            try:
                shown = await self._cache.view(token)
            except Unavailable:
                shown = None
            if shown is not None:
                return Opened(cached, shown, is_row=True)
        raise ServiceUnavailable("This list cannot be read at the moment. Try again shortly.")

    async def _remember(self, opened: Opened, *, missing: bool) -> None:
        try:
            if missing:
                await self._cache.fill(opened.share)
            await self._cache.keep_view(opened.share.token, opened.shown)
        except Unavailable:
            get_logger().debug("a share could not be cached")


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _share_of(token: str, row: asyncpg.Record, hidden: Sequence[UUID]) -> Share:
    return Share(
        share_id=row["share_id"],
        token=token,
        wishlist_id=row["wishlist_id"],
        owner_id=row["created_by"],
        channel=Channel(row["share_channel"] or Channel.UNKNOWN),
        expires_at=row["expires_at"],
        hidden_item_ids=tuple(hidden),
        message=row["message"],
        created_at=row["created_at"],
        variant=row["variant"],
    )


def _list_of(row: asyncpg.Record) -> SharedList:
    return SharedList(
        title=row["title"],
        owner_display_name=row["display_name"],
        owner_public_id=row["owner_public_id"],
        listed_at=row["listed_at"],
        items=row["items"],
        item_count=row["item_count"],
        total=row["total"],
        currency=row["currency"],
        view_count=row["view_count"],
        picture_hash=row["content_hash"],
    )


def list_of_items(items: Sequence[dict[str, Any]]) -> tuple[str, str, str | None]:
    """JSON text of *items*, JSON text of their total (null where currencies differ), and their one currency."""
    currencies = {item["currency"] for item in items}
    total = "null" if len(currencies) > 1 else f"{round(sum(item['price'] for item in items), 2):.2f}"
    return orjson.dumps(items).decode(), total, currencies.pop() if len(currencies) == 1 else None
