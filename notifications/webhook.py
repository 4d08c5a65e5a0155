"""What a webhook is sent about one event: what the share's owner may know, and nothing of who has viewed or added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from schemas.event import EventType, ShareEvent

# With full stops, as the Standard Webhooks specification has them.
TYPES = {
    EventType.CREATED: "share.created",
    EventType.VIEWED: "share.viewed",
    EventType.ITEM_ADDED: "share.item_added",
    EventType.EXPIRED: "share.expired",
    EventType.REVOKED: "share.revoked",
    EventType.SETTINGS_CHANGED: "share.settings_changed",
}


def is_told(event: ShareEvent) -> bool:
    """Whether webhooks are told of it: people's views, items that others have added, and what becomes of a share."""
    if event.event_type in (EventType.VIEWED, EventType.ITEM_ADDED):
        return event.is_by_person or event.is_by_others
    return event.event_type in TYPES


def body(event: ShareEvent, wishlist_id: str, item_ids: Mapping[UUID, str]) -> str:
    """The JSON of *event*, with the public ids of its list and of the list's items."""
    data: dict[str, Any] = {
        "event_id": event.event_id,
        "share_token": event.share_token,
        "wishlist_id": wishlist_id,
        "channel": event.share_channel,
        **_details(event, item_ids),
    }
    message = {"type": TYPES[event.event_type], "timestamp": event.timestamp, "data": data}
    return orjson.dumps(message, option=orjson.OPT_UTC_Z).decode()


def _details(event: ShareEvent, item_ids: Mapping[UUID, str]) -> dict[str, Any]:
    reader = {"country": event.country or None, "platform": event.platform}
    match event.event_type:
        case EventType.CREATED:
            return {"item_count": event.item_count, "expires_at": event.expires_at}
        case EventType.VIEWED:
            return reader
        case EventType.ITEM_ADDED:
            # Their item_id would be that of the other person's list.
            return {**reader, "product_id": event.product_id}
        case EventType.SETTINGS_CHANGED if event.wishlist_item_id is not None:
            return {"item_id": item_ids.get(event.wishlist_item_id), "item_visible": event.item_visible}
        case EventType.SETTINGS_CHANGED:
            return {"expires_at": event.expires_at, "snapshot": event.snapshot_item_ids is not None}
    return {}
