"""Where a rival of the warehouse's sink writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clients.bigquery import Warehouse
from clients.bigquery_rows import RowFormat
from config.settings import WarehouseSettings
from schemas.event import ShareEvent
from sinks.bigquery import row_of


class ShareEvents:
    """The warehouse agent's rows, appended by the same client, one append after the other; no ledger, no notes."""

    # What a replay takes from a topic at once becomes one append, several times the agent's own 500.
    batch = 2_000

    def __init__(self) -> None:
        self._warehouse = Warehouse(WarehouseSettings())
        self._format = RowFormat(self._warehouse.schema("share_events"))
        self._stream = self._warehouse.open_stream("share_events")

    async def write(self, events: Sequence[ShareEvent]) -> None:
        """See :class:`Destination`."""
        rows = [self._format.encode(row_of(event)) for event in events]
        await asyncio.to_thread(self._warehouse.append, self._stream, rows, self._format)
