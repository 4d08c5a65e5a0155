"""What webhooks are told: the events of their owners' shares. Rows for a relay to deliver."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from asyncpg.pool import PoolConnectionProxy

from clients.postgres import Database
from config.settings import WebhookSettings
from notifications.webhook import body, is_told
from schemas.event import ShareEvent
from sinks import postgres
from sinks.contract import Applied, Batch

GROUP = "notification-service-social-webhook"

_LISTENING = """
    SELECT id, owner_id, enabled_at FROM webhooks
    WHERE disabled_at IS NULL AND (owner_id = ANY($1::uuid[]) OR owner_id IS NULL)"""
# Webhooks that are gone meanwhile are told nothing. The id stands for the ledger: rows are kept for longer than the age
# at which an event is not told any more.
_TELL = """
    INSERT INTO webhook_deliveries (id, webhook_id, body, happened_at, due_at)
    SELECT of.id, of.webhook_id, of.body, of.happened_at, of.happened_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) AS of(id, webhook_id, body, happened_at)
    JOIN (SELECT id FROM webhooks WHERE id = ANY($2::uuid[]) ORDER BY id FOR KEY SHARE) w ON w.id = of.webhook_id
    ON CONFLICT (id) DO NOTHING RETURNING id"""


class WebhookQueue(postgres.PostgresSink):
    """The sink of the webhook agent."""

    def __init__(self, database: Database, group: str, settings: WebhookSettings | None = None) -> None:
        super().__init__(database, group)
        self._settings = settings or WebhookSettings()

    async def _write(self, connection: PoolConnectionProxy, batch: Batch) -> Applied:
        # A replay must not call anybody about last month.
        since = datetime.now(UTC) - timedelta(seconds=self._settings.latest_seconds)
        wanted = [event for event in batch.events if is_told(event) and event.timestamp >= since]
        told = await self._tell(connection, wanted) if wanted else 0
        return Applied(told, len(batch.events) - told)

    async def _tell(self, connection: PoolConnectionProxy, events: Sequence[ShareEvent]) -> int:
        """Write a delivery for each webhook that listens; how many events are told of."""
        by_owner: dict[UUID | None, Any] = {
            row["owner_id"]: row
            for row in await connection.fetch(_LISTENING, list({event.user_id for event in events}))
        }
        heard = [
            (webhook["id"], event)
            for event in events
            for webhook in (by_owner.get(event.user_id), by_owner.get(None))
            if webhook is not None and event.timestamp >= webhook["enabled_at"]
        ]
        if not heard:
            return 0
        lists = await _public_ids(connection, "wishlists", {event.wishlist_id for _, event in heard})
        items = await _public_ids(
            connection,
            "wishlist_items",
            {id for _, event in heard if (id := event.wishlist_item_id) is not None},
        )
        # Of a list that is gone nothing is told.
        told = {delivery_id(webhook, event): (webhook, event) for webhook, event in heard if event.wishlist_id in lists}
        # In one order for all: two workers wait for each other, not in a circle.
        ids = sorted(told)
        rows = await connection.fetch(
            _TELL,
            ids,
            [told[id][0] for id in ids],
            [body(told[id][1], lists[told[id][1].wishlist_id], items) for id in ids],
            [told[id][1].timestamp for id in ids],
        )
        return len({told[row["id"]][1].event_id for row in rows})


def delivery_id(webhook_id: UUID, event: ShareEvent) -> UUID:
    """The ``webhook-id`` of *event* at one webhook, the same at each reading."""
    return uuid5(webhook_id, str(event.event_id))


async def _public_ids(connection: PoolConnectionProxy, table: str, ids: Collection[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    rows = await connection.fetch(f"SELECT id, public_id FROM {table} WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: row["public_id"] for row in rows}
