"""Share events in BigQuery, a row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from schemas.event import ShareEvent
from sinks.contract import Batch
from sinks.warehouse_table import WarehouseTable

GROUP = "analytics-pipeline-wishlist-social"


class ShareEventTable(WarehouseTable[ShareEvent]):
    """The sink of the warehouse agent."""

    table = "share_events"

    def entries(self, batch: Batch) -> Sequence[ShareEvent]:
        """Every event."""
        return batch.events

    def ledger_ids(self, entry: ShareEvent) -> tuple[UUID, ...]:
        """The event's id."""
        return (entry.event_id,)

    async def rows(self, entries: Sequence[ShareEvent]) -> list[Mapping[str, Any]]:
        """See :func:`row_of`."""
        return [row_of(event) for event in entries]


def row_of(event: ShareEvent) -> dict[str, Any]:
    """The event's row in ``share_events``; what must not leave PostgreSQL (token, message, addresses) is not in it."""
    return {
        "event_id": str(event.event_id),
        "event_date": event.timestamp.date(),
        "occurred_at": event.timestamp,
        "event_type": str(event.event_type),
        "share_id": str(event.share_id),
        "wishlist_id": str(event.wishlist_id),
        "user_id": str(event.user_id),
        "recipient_user_id": _text(event.recipient_user_id),
        "share_channel": str(event.share_channel),
        "platform": event.platform,
        "variant": event.variant,
        "country": event.country,
        "referrer_host": _host(event.referrer),
        "is_bot": event.is_bot,
        "visitor_hash": event.visitor_hash,
        "page_view_id": _text(event.page_view_id),
        "item_count": event.item_count,
        "product_ids": list(event.product_ids),
        "product_id": event.product_id,
        "wishlist_item_id": _text(event.wishlist_item_id),
        "recipient_wishlist_id": _text(event.recipient_wishlist_id),
        "created_wishlist": event.created_wishlist,
        "item_visible": event.item_visible,
        "expires_at": event.expires_at,
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
