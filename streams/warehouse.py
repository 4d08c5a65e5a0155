"""Agent ``warehouse``: share events become rows in BigQuery."""

from __future__ import annotations

from clients.bigquery import Warehouse
from config.settings import WarehouseSettings, load
from sinks.bigquery import GROUP, ShareEventTable
from streams.application import share_event_agent

_settings = load(WarehouseSettings)
app = share_event_agent(
    "warehouse",
    GROUP,
    lambda database, group: ShareEventTable(database, group, Warehouse(_settings)),
    max_poll_records=_settings.batch_events,
    max_batch_events=_settings.batch_events,
    linger_seconds=_settings.batch_seconds,
)
