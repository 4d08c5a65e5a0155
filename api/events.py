"""The share events that the API says."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from api.idempotency import Plan
from api.reads import Opened
from api.shares_model import Share
from api.visitors import Visitor
from schemas.event import EventType, ShareEvent
from schemas.ids import uuid7, view_event_id


def created(share: Share, plan: Plan, visitor: Visitor, *, product_ids: tuple[str, ...]) -> ShareEvent:
    """``share_created`` as *plan* has it; *product_ids* are the visible items' products."""
    return ShareEvent(
        event_type=EventType.CREATED,
        wishlist_id=share.wishlist_id,
        user_id=share.owner_id,
        share_token=share.token,
        share_channel=share.channel,
        item_count=len(product_ids),
        timestamp=plan.at,
        event_id=plan.event_id,
        share_id=share.share_id,
        expires_at=share.expires_at,
        hidden_item_ids=share.hidden_item_ids,
        message=share.message,
        product_ids=product_ids,
        user_agent=visitor.user_agent,
        referrer=visitor.referrer,
        country=visitor.country,
        platform=visitor.platform,
        variant=visitor.variant,
    )


def viewed(opened: Opened, visitor: Visitor, *, page_view_id: UUID, is_bot: bool, visitor_hash: str) -> ShareEvent:
    """``share_viewed``."""
    share = opened.share
    now = datetime.now(UTC)
    return ShareEvent(
        event_type=EventType.VIEWED,
        wishlist_id=share.wishlist_id,
        user_id=share.owner_id,
        share_token=share.token,
        share_channel=share.channel,
        item_count=opened.shown.item_count,
        timestamp=now,
        event_id=view_event_id(share.token, page_view_id, int(now.timestamp() * 1000)),
        share_id=share.share_id,
        expires_at=share.expires_at,
        page_view_id=page_view_id,
        is_bot=is_bot,
        visitor_hash=visitor_hash,
        user_agent=visitor.user_agent,
        referrer=visitor.referrer,
        country=visitor.country,
        platform=visitor.platform,
        variant=visitor.variant,
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
    share = opened.share
    return ShareEvent(
        event_type=EventType.ITEM_ADDED,
        wishlist_id=share.wishlist_id,
        user_id=share.owner_id,
        share_token=share.token,
        share_channel=share.channel,
        item_count=opened.shown.item_count,
        timestamp=plan.at,
        event_id=plan.event_id,
        share_id=share.share_id,
        expires_at=share.expires_at,
        recipient_user_id=reader_id,
        recipient_wishlist_id=list_id,
        wishlist_item_id=item_id,
        product_id=product_id,
        created_wishlist=created_wishlist,
        user_agent=visitor.user_agent,
        referrer=visitor.referrer,
        country=visitor.country,
        platform=visitor.platform,
        variant=visitor.variant,
    )


def revoked(share: Share, visitor: Visitor) -> ShareEvent:
    """``share_revoked``."""
    return _of_owner(EventType.REVOKED, share, visitor)


def settings_changed(
    share: Share,
    visitor: Visitor,
    *,
    item_id: UUID | None = None,
    visible: bool | None = None,
    product_ids: tuple[str, ...] = (),
) -> ShareEvent:
    """``share_settings_changed``: one item's visibility, or (without *item_id*) the share's expiry and snapshot."""
    return _of_owner(
        EventType.SETTINGS_CHANGED, share, visitor, item_id=item_id, visible=visible, product_ids=product_ids
    )


def _of_owner(
    event_type: EventType,
    share: Share,
    visitor: Visitor,
    *,
    item_id: UUID | None = None,
    visible: bool | None = None,
    product_ids: tuple[str, ...] = (),
) -> ShareEvent:
    return ShareEvent(
        event_type=event_type,
        wishlist_id=share.wishlist_id,
        user_id=share.owner_id,
        share_token=share.token,
        share_channel=share.channel,
        item_count=len(product_ids),
        timestamp=datetime.now(UTC),
        event_id=uuid7(),
        share_id=share.share_id,
        expires_at=share.expires_at,
        wishlist_item_id=item_id,
        item_visible=visible,
        product_ids=product_ids,
        user_agent=visitor.user_agent,
        referrer=visitor.referrer,
        country=visitor.country,
        platform=visitor.platform,
        variant=visitor.variant,
    )
