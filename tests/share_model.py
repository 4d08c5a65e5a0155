"""What share events must have become in PostgreSQL, worked out in memory from DESIGN 3 to 5 and the spec.

Written without the sinks' SQL or logic, and on purpose in another manner: all that is known is kept, and every question
is answered by looking through all of it. Nothing here depends on the order in which events came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from schemas.event import EventType, ShareEvent


@dataclass(frozen=True)
class Shop:
    """What the shop itself has: lists by their ids, and products by theirs."""

    wishlists: frozenset[UUID]
    products: frozenset[str]


class ShareModel:
    """The shares of *events*; each id counts once, however often it comes.

    *swept* are the expiries that the sweep has marked, by share: their events may still be under way.
    """

    def __init__(self, shop: Shop, events: Iterable[ShareEvent], swept: dict[UUID, datetime]) -> None:
        self._shop = shop
        self._swept = swept
        told = {event.event_id: event for event in events if event.event_type is not EventType.UNKNOWN}
        self.ledger = set(told)
        self._of_share: dict[UUID, list[ShareEvent]] = {}
        for event in told.values():
            # Events of a list that is gone are skipped, not refused (DESIGN 3).
            if event.wishlist_id in shop.wishlists:
                self._of_share.setdefault(event.share_id, []).append(event)

    def shares(self) -> dict[UUID, dict[str, Any]]:
        """Each share's row; what nobody can know before the creation has come is left out."""
        return {share: self._row(share) for share in self._of_share}

    def due(self, now: datetime) -> dict[UUID, datetime]:
        """Shares whose time is over by *now* and that nobody has ended, with their expiries."""
        found = {}
        for share, row in self.shares().items():
            at = row["expires_at"]
            if at is not None and at <= now and row["expired_at"] is None and not row["is_revoked"]:
                found[share] = at
        return found

    def visibility(self) -> dict[tuple[UUID, UUID], bool]:
        """The newest word on each item: hidden at the creation, or switched since, by (time, event id)."""
        words: dict[tuple[UUID, UUID], list[tuple[datetime, UUID, bool]]] = {}
        for share in self._of_share:
            for event in self._kind(share, EventType.CREATED):
                for item in event.hidden_item_ids:
                    words.setdefault((share, item), []).append((event.timestamp, event.event_id, False))
            for event in self._kind(share, EventType.SETTINGS_CHANGED):
                if event.wishlist_item_id is not None and event.item_visible is not None:
                    word = (event.timestamp, event.event_id, event.item_visible)
                    words.setdefault((share, event.wishlist_item_id), []).append(word)
        return {place: max(said)[2] for place, said in words.items()}

    def visitors(self) -> set[tuple[UUID, str, str]]:
        """Who has looked at which share on which day: people only."""
        return {
            (share, event.timestamp.date().isoformat(), event.visitor_hash)
            for share in self._of_share
            for event in self._views_of_people(share)
            if event.visitor_hash
        }

    def copied_items(self) -> dict[UUID, tuple[UUID, str, UUID]]:
        """Items that readers have now, one for each (list, product, share): its list, its product, its share."""
        return {
            event.wishlist_item_id: (event.recipient_wishlist_id, event.product_id, share)
            for share in self._of_share
            for event in self._kind(share, EventType.ITEM_ADDED)
            if event.wishlist_item_id and event.recipient_wishlist_id and event.product_id in self._shop.products
        }

    def first_wishlists(self) -> set[UUID]:
        """Lists that readers have got with the first item they took."""
        return {
            event.recipient_wishlist_id
            for share in self._of_share
            for event in self._kind(share, EventType.ITEM_ADDED)
            if event.created_wishlist and event.recipient_wishlist_id
        }

    def _row(self, share: UUID) -> dict[str, Any]:
        events = self._of_share[share]
        views = self._kind(share, EventType.VIEWED)
        human = self._views_of_people(share)
        revocations = [event.timestamp for event in self._kind(share, EventType.REVOKED)]
        expiries = [event.timestamp for event in self._kind(share, EventType.EXPIRED)]
        if share in self._swept:
            expiries.append(self._swept[share])
        # A version 1 event says that an item was copied, not which: each is one.
        nameless = [e for e in self._kind(share, EventType.ITEM_ADDED) if e.wishlist_item_id is None]
        settings = [e for e in self._kind(share, EventType.SETTINGS_CHANGED) if e.wishlist_item_id is None]
        newest = max(settings, key=lambda event: (event.timestamp, event.event_id), default=None)
        row: dict[str, Any] = {
            "wishlist_id": events[0].wishlist_id,
            "share_token": events[0].share_token,
            "created_by": events[0].user_id,
            "view_count": len(human),
            "raw_view_count": len(views),
            "unique_viewers": len({(e.timestamp.date(), e.visitor_hash) for e in human if e.visitor_hash}),
            "items_added": len(nameless) + sum(1 for item in self.copied_items().values() if item[2] == share),
            "is_revoked": bool(revocations),
            "revoked_at": min(revocations, default=None),
            "expired_at": min(expiries, default=None),
            "last_viewed_at": max((event.timestamp for event in human), default=None),
            "updated_at": max([*(event.timestamp for event in events), *expiries]),
            # Every event of a share carries its expiry, so that any of them can make the share.
            "expires_at": newest.expires_at if newest else events[0].expires_at,
            "snapshot_items": list(newest.snapshot_item_ids) if newest and newest.snapshot_item_ids else None,
        }
        for event in self._kind(share, EventType.CREATED):
            row |= {
                "created_at": event.timestamp,
                "message": event.message,
                "share_channel": str(event.share_channel),
                "variant": event.variant,
            }
        return row

    def _kind(self, share: UUID, kind: EventType) -> list[ShareEvent]:
        return [event for event in self._of_share[share] if event.event_type is kind]

    def _views_of_people(self, share: UUID) -> list[ShareEvent]:
        return [event for event in self._kind(share, EventType.VIEWED) if not event.is_bot]
