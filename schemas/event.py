"""The share event as the code sees it.

One event is one fact about one share. The fields up to ``country`` are the spec's record ("Kafka Event Schema");
those after it came with schema versions 2 and 3 and have defaults, so that a version 1 record reads as the same type.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class EventType(StrEnum):
    """What happened. ``UNKNOWN`` is what an old reader sees of a type that came after it."""

    CREATED = "share_created"
    VIEWED = "share_viewed"
    ITEM_ADDED = "share_item_added"
    EXPIRED = "share_expired"
    REVOKED = "share_revoked"
    SETTINGS_CHANGED = "share_settings_changed"
    UNKNOWN = "unknown"


class Channel(StrEnum):
    """How a share travelled. ``LINK`` is read but never written (DESIGN 6)."""

    LINK = "link"
    EMAIL = "email"
    FACEBOOK = "facebook"
    TWITTER = "twitter"
    WHATSAPP = "whatsapp"
    COPY_LINK = "copy_link"
    UNKNOWN = "unknown"


class ShareEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record of ``wishlist.social.events``; ``timestamp`` and ``expires_at`` are aware UTC datetimes.

    Ids named ``*_id`` are UUIDs, except ``product_id`` / ``product_ids``, which are the catalogue's public ids.
    """

    event_type: EventType
    wishlist_id: UUID
    user_id: UUID
    share_token: str
    share_channel: Channel
    item_count: int
    timestamp: datetime
    event_id: UUID
    share_id: UUID
    recipient_user_id: UUID | None = None
    user_agent: str = ""
    referrer: str = ""
    country: str = ""
    expires_at: datetime | None = None
    hidden_item_ids: tuple[UUID, ...] = ()
    snapshot_item_ids: tuple[UUID, ...] | None = None
    message: str | None = None
    product_ids: tuple[str, ...] = ()
    product_id: str | None = None
    wishlist_item_id: UUID | None = None
    recipient_wishlist_id: UUID | None = None
    created_wishlist: bool = False
    item_visible: bool | None = None
    page_view_id: UUID | None = None
    platform: str = "unknown"
    variant: str | None = None
    is_bot: bool = False
    visitor_hash: str | None = None
    is_authenticated: bool | None = None

    @property
    def is_by_person(self) -> bool:
        """Whether it is a view, and no program's."""
        return self.event_type is EventType.VIEWED and not self.is_bot

    @property
    def is_by_others(self) -> bool:
        """Whether an item was added, and not by the list's owner."""
        return self.event_type is EventType.ITEM_ADDED and self.recipient_user_id != self.user_id
