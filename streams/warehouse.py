"""Agent ``warehouse``: share events become rows in BigQuery, beside what the views join them to."""

from __future__ import annotations

from clients.bigquery import Warehouse
from clients.periodic import every
from clients.postgres import Database
from config.settings import PostgresSettings, WarehouseSettings, load
from sinks.bigquery import GROUP, ShareEventTable
from streams.application import share_event_agent
from streams.bigquery.reference_tables import ReferenceTables

_settings = load(WarehouseSettings)
app = share_event_agent(
    "warehouse",
    GROUP,
    lambda database, group: ShareEventTable(database, group, Warehouse(_settings)),
    max_poll_records=_settings.batch_events,
    max_batch_events=_settings.batch_events,
    linger_seconds=_settings.batch_seconds,
)


@app.job
async def refresh_reference_tables() -> None:
    """Brings catalogue and users by country to BigQuery."""
    work = ReferenceTables(Database(load(PostgresSettings)), Warehouse(_settings)).refresh
    await every(_settings.reference_seconds, work, name="reference tables", board=app.board, retry_seconds=60.0)
