"""Agent ``preview``: share events become pictures, by way of rows that workers work off."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import httpx

from cards.thumbnails import open_thumbnails
from clients.cache import open_redis
from clients.objects import ObjectStore
from clients.periodic import every
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
from streams.outbox.worker import OutboxWorker
from streams.previews.fallback import FallbackOutbox
from streams.previews.gate import RendererGate
from streams.previews.purging import PurgeOutbox
from streams.previews.rendering import RenderOutbox
from streams.previews.sweep import PreviewSweep
from streams.shares.ended_lists import EndedListOutbox

app = share_event_agent("preview", GROUP, PreviewQueue)
database = Database(load(PostgresSettings))


@app.job
async def draw() -> None:
    """Has due previews rendered, and draws cards without a browser where none can be."""
    renderer, store = load(RendererSettings), ObjectStore(load(ObjectStoreSettings))
    gate = RendererGate(load(BreakerSettings), load(RedisSettings))
    async with (
        renderer_client(renderer) as http,
        open_thumbnails(renderer.image_hosts, renderer.thumbnail_dir) as pictures,
        aclosing(FallbackOutbox(database, gate, pictures, store)) as fallback,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(every(0.0, gate.tell, name="breaker board", board=app.board))
        for outbox in (RenderOutbox(database, renderer, gate, http), fallback):
            group.create_task(OutboxWorker(outbox, database, app.board).run())


@app.job
async def sweep() -> None:
    """Gives up the pictures that nobody looks at."""
    settings = load(SweepSettings)
    work = PreviewSweep(database, settings).sweep
    await every(settings.every_hours * 3_600, work, name="picture sweep", board=app.board, retry_seconds=60.0)


@app.job
async def purge() -> None:
    """Removes pictures that were withdrawn or swept, and those of deleted lists."""
    await OutboxWorker(PurgeOutbox(ObjectStore(load(ObjectStoreSettings))), database, app.board).run()


@app.job
async def end_links() -> None:
    """Ends the links of deleted lists in Redis and the CDN."""
    outbox = EndedListOutbox(open_redis(load(RedisSettings)), load(ApiSettings))
    await OutboxWorker(outbox, database, app.board).run()


def renderer_client(renderer: RendererSettings) -> httpx.AsyncClient:
    """A client of svc-og-renderer that waits a second longer than a card may take."""
    return httpx.AsyncClient(base_url=renderer.url, timeout=renderer.longest_seconds + 1)
