"""The share events that the API says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.idempotency import Plan
from api.reads import Opened
from api.shares_model import Share
from api.visitors import Visitor
from schemas.event import EventType, ShareEvent
from schemas.ids import uuid7, view_event_id


def created(share: Share, plan: Plan, visitor: Visitor, *, product_ids: tuple[str, ...]) -> ShareEvent:
    """``share_created`` as *plan* has it; *product_ids* are the visible items' products."""
    return _said(
        EventType.CREATED,
        share,
        visitor,
        item_count=len(product_ids),
        timestamp=plan.at,
        event_id=plan.event_id,
        hidden_item_ids=share.hidden_item_ids,
        message=share.message,
        product_ids=product_ids,
    )


def viewed(
    opened: Opened, visitor: Visitor, *, page_view_id: UUID, is_bot: bool, visitor_hash: str, is_authenticated: bool
) -> ShareEvent:
    """``share_viewed``, named by its page view."""
    now = datetime.now(UTC)
    return _said(
        EventType.VIEWED,
        opened.share,
        visitor,
        item_count=opened.shown.item_count,
        timestamp=now,
        event_id=view_event_id(opened.share.token, page_view_id, int(now.timestamp() * 1000)),
        page_view_id=page_view_id,
        is_bot=is_bot,
        visitor_hash=visitor_hash,
        is_authenticated=is_authenticated,
    )


def item_added(
    opened: Opened,
    plan: Plan,
    visitor: Visitor,
    *,
    reader_id: UUID,
    list_id: UUID,
    item_id: UUID,
    product_id: str,
    created_wishlist: bool,
) -> ShareEvent:
    """``share_item_added``: the reader *reader_id* copied a product into their list."""
    return _said(
        EventType.ITEM_ADDED,
        opened.share,
        visitor,
        item_count=opened.shown.item_count,
        timestamp=plan.at,
        event_id=plan.event_id,
        recipient_user_id=reader_id,
        recipient_wishlist_id=list_id,
        wishlist_item_id=item_id,
        product_id=product_id,
        created_wishlist=created_wishlist,
    )


def revoked(share: Share, visitor: Visitor) -> ShareEvent:
    """``share_revoked``."""
    return _said(EventType.REVOKED, share, visitor)


def item_switched(share: Share, visitor: Visitor, *, item_id: UUID, visible: bool) -> ShareEvent:
    """``share_settings_changed`` for one item's visibility."""
    return _said(EventType.SETTINGS_CHANGED, share, visitor, wishlist_item_id=item_id, item_visible=visible)


def settings_changed(share: Share, visitor: Visitor, *, snapshot_item_ids: tuple[UUID, ...] | None) -> ShareEvent:
    """``share_settings_changed`` for the share itself: always its expiry and its snapshot, both as they are now."""
    return _said(EventType.SETTINGS_CHANGED, share, visitor, snapshot_item_ids=snapshot_item_ids)


def _said(event_type: EventType, share: Share, visitor: Visitor, **fields: Any) -> ShareEvent:
    """An event about *share*, now and under a new id where *fields* do not say otherwise."""
    common: dict[str, Any] = {
        "wishlist_id": share.wishlist_id,
        "user_id": share.owner_id,
        "share_token": share.token,
        "share_channel": share.channel,
        "share_id": share.share_id,
        "expires_at": share.expires_at,
        "item_count": 0,
        "timestamp": datetime.now(UTC),
        "event_id": uuid7(),
        "user_agent": visitor.user_agent,
        "referrer": visitor.referrer,
        "country": visitor.country,
        "platform": visitor.platform,
        # What the experiment is about is the making of shares: where nothing else is told, its variant stands.
        "variant": visitor.variant or share.variant,
    }
    return ShareEvent(event_type=event_type, **{**common, **fields})
