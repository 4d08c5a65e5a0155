"""Agent ``preview``: share events become pictures, by way of rows that a relay works off."""

from __future__ import annotations

from contextlib import aclosing

from cards.thumbnails import open_thumbnails
from clients.cache import open_redis
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import (
    ApiSettings,
    BreakerSettings,
    ObjectStoreSettings,
    PostgresSettings,
    RedisSettings,
    RendererSettings,
    SweepSettings,
    load,
)
from sinks.previews import GROUP, PreviewQueue
from streams.application import share_event_agent
from streams.ended_lists import EndedLists
from streams.preview_fallback import FallbackCards
from streams.preview_purge import PreviewPurge
from streams.preview_relay import PreviewRelay
from streams.preview_sweep import PreviewSweep

app = share_event_agent("preview", GROUP, PreviewQueue)
database = Database(load(PostgresSettings))


@app.task  # type: ignore[untyped-decorator]
async def relay() -> None:
    """Works off the rows that this worker, or another, has written."""
    renderer = load(RendererSettings)
    async with (
        open_thumbnails(renderer.image_hosts, renderer.thumbnail_dir) as pictures,
        aclosing(FallbackCards(pictures, ObjectStore(load(ObjectStoreSettings)))) as fallback,
    ):
        await PreviewRelay(database, renderer, load(BreakerSettings), load(RedisSettings), fallback).run()


@app.task  # type: ignore[untyped-decorator]
async def sweep() -> None:
    """Gives up what nobody looks at."""
    await PreviewSweep(database, load(SweepSettings)).run()


@app.task  # type: ignore[untyped-decorator]
async def purge() -> None:
    """Removes what was withdrawn or swept, and what was a deleted list's."""
    await PreviewPurge(database, ObjectStore(load(ObjectStoreSettings))).run()


@app.task  # type: ignore[untyped-decorator]
async def end_links() -> None:
    """Ends the links of deleted lists where they may still be known."""
    await EndedLists(database, open_redis(load(RedisSettings)), load(ApiSettings)).run()
