"""Messages of the Segment interface in BigQuery, a row for each message id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from schemas.segment import SegmentMessage, row_of
from sinks import postgres
from sinks.contract import Batch
from sinks.warehouse_table import WarehouseTable

GROUP = "analytics-pipeline-wishlist-segment"


class SegmentTable(WarehouseTable[SegmentMessage]):
    """The sink of the Segment agent."""

    table = "segment_messages"

    def entries(self, batch: Batch) -> Sequence[SegmentMessage]:
        """Every message."""
        return batch.messages

    def ledger_ids(self, entry: SegmentMessage) -> tuple[UUID, ...]:
        """See :attr:`schemas.segment.SegmentMessage.ledger_ids`."""
        return entry.ledger_ids

    async def rows(self, entries: Sequence[SegmentMessage]) -> list[Mapping[str, Any]]:
        """Rows with the public ids of people, which are what clients know them by."""
        owners = {message.owner for message in entries if message.owner is not None}
        names: dict[UUID, str] = {}
        if owners:
            async with postgres.transaction(self._database) as connection:
                found = await connection.fetch(
                    "SELECT id, public_id FROM users WHERE id = ANY($1::uuid[])", list(owners)
                )
            names = {row["id"]: row["public_id"] for row in found}
        return [
            row_of(message, names.get(message.owner, message.user_id) if message.owner else message.user_id)
            for message in entries
        ]
