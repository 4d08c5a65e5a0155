"""Agent ``segment``: messages of the Segment interface become rows in BigQuery."""

from __future__ import annotations

from clients.bigquery import Warehouse
from config.settings import WarehouseSettings, load
from sinks.segment import GROUP, SegmentTable
from streams.application import segment_agent

_settings = load(WarehouseSettings)
app = segment_agent(
    "segment",
    GROUP,
    lambda database, group: SegmentTable(database, group, Warehouse(_settings)),
    max_poll_records=_settings.batch_events,
    max_batch_events=_settings.batch_events,
    linger_seconds=_settings.batch_seconds,
)
