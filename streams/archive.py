"""Agent ``archive``: share events become files in the bucket, kept on when the topic has forgotten them."""

from __future__ import annotations

from clients.objects import ObjectStore
from clients.periodic import every
from clients.postgres import Database
from config.settings import ArchiveSettings, ObjectStoreSettings, PostgresSettings, load
from sinks.archive import GROUP, EventArchive
from streams.application import placed_event_agent
from streams.archiving.sweep import ArchiveSweep

_settings = load(ArchiveSettings)
_store = ObjectStore(load(ObjectStoreSettings))
app = placed_event_agent(
    "archive",
    GROUP,
    lambda database, group: EventArchive(database, group, _store, _settings.prefix),
    max_batch_events=_settings.batch_events,
    linger_seconds=_settings.batch_seconds,
)


@app.job
async def sweep() -> None:
    """Removes the files that a kill left behind."""
    work = ArchiveSweep(Database(load(PostgresSettings)), _store, _settings).sweep
    await every(_settings.sweep_seconds, work, name="archive sweep", board=app.board, retry_seconds=60.0)
