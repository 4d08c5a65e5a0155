"""A render from request to stored picture: reuse, single flight, drawing, upload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cards import png
from cards.card import cache_key, page_data
from cards.data import SHOWN_ITEMS, CardData
from cards.thumbnails import Thumbnails
from clients.faults import Unavailable
from clients.logs import get_logger
from clients.metrics import R2_UPLOAD_SECONDS, RENDER_CACHE_HITS, RENDER_SECONDS
from clients.objects import ObjectStore, content_key, preview_key
from renderer_worker.engine import Engine
from renderer_worker.errors import PoolExhausted, UploadFailed
from renderer_worker.requests import RenderRequest

CACHE_CONTROL = "public, max-age=86400"
# A card with a missing product picture is worth drawing again soon: the picture may only have been late.
DEGRADED_SECONDS = 60.0
LOOK_SECONDS = 1.0
# What a card takes on a busy machine, kept back from a caller's time when it queues.
DRAWING_SECONDS = 0.5

_log = get_logger()


@dataclass(frozen=True)
class Rendered:
    """A stored picture: its address, the key of its content, its size in bytes."""

    image_url: str
    cache_key: str
    size: int


class Renderer:
    """Answers render requests. Equal cards that are asked for at the same time are drawn once."""

    def __init__(
        self,
        engine: Engine,
        thumbnails: Thumbnails,
        store: ObjectStore,
        template_version: str,
        cdn_url: str,
        cache_ttl_seconds: int,
        queue_seconds: float,
        queue_length: int,
    ) -> None:
        self._engine = engine
        self._thumbnails = thumbnails
        self._store = store
        self._template_version = template_version
        self._cdn_url = cdn_url.rstrip("/")
        self._ttl = cache_ttl_seconds
        self._queue_seconds = queue_seconds
        self._queue_length = queue_length
        self._queued = 0
        # One card on each page and one before or after it: more at once would only queue where no deadline is kept.
        self._desks = asyncio.Semaphore(2 * engine.total)
        self._flights: dict[str, asyncio.Task[int]] = {}

    async def render(self, request: RenderRequest, timeout_seconds: float) -> Rendered:
        """Store the card's picture and say where it is.

        Raises a ``RenderError``; queueing, drawing and storing together take at most *timeout_seconds*. Of these a
        card may queue for the pool's own limit (spec: 5 s), and longer than that for nobody.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        key = cache_key(self._template_version, request.data)
        content_path = content_key(key)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._provide(content_path, request.data, deadline, timeout_seconds))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: a caller who leaves does not take the picture away from the others.
        size = await asyncio.shield(flight)
        path = content_path
        if request.share_token is not None:
            path = preview_key(request.share_token)
            async with _storing(deadline):
                await self._store.copy(content_path, path)
        return Rendered(f"{self._cdn_url}/{path}", key, size)

    def _landed(self, key: str, flight: asyncio.Task[int]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # Looked at here, for the case that every caller has left.

    async def _provide(self, path: str, data: CardData, deadline: float, timeout_seconds: float) -> int:
        """Have the picture of *data* at *path*; returns its size in bytes."""
        stored = await self._fresh(path)
        if stored is not None:
            RENDER_CACHE_HITS.inc()
            return len(stored)
        # Who would get a page with no time left to draw hears it while the answer still meets somebody.
        wait_until = min(
            deadline - min(DRAWING_SECONDS, timeout_seconds / 2),
            asyncio.get_running_loop().time() + self._queue_seconds,
        )
        with RENDER_SECONDS.time():
            picture = await self._draw(data, wait_until, deadline)
        with R2_UPLOAD_SECONDS.time():
            async with _storing(deadline):
                await self._store.put(path, picture, "image/png", CACHE_CONTROL)
        return len(picture)

    async def _fresh(self, path: str) -> bytes | None:
        """The stored picture that may still be used. A bucket that does not answer has none: drawing goes on."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                stored = await self._store.get(path)
        except (Unavailable, TimeoutError) as error:
            _log.warning("stored picture not looked up", error=repr(error))
            return None
        return stored if stored is not None and png.fresh_until(stored) > time.time() else None

    async def _draw(self, data: CardData, wait_until: float, deadline: float) -> bytes:
        if self._queued >= self._queue_length:
            raise PoolExhausted(f"the queue is full: {self._queued} cards wait")
        self._queued += 1
        try:
            async with asyncio.timeout_at(wait_until):
                await self._desks.acquire()
        except TimeoutError as error:
            raise PoolExhausted("the queue did not move in time") from error
        finally:
            self._queued -= 1
        try:
            urls = [item.image for item in data.items[:SHOWN_ITEMS]]
            pictures = await self._thumbnails.data_uris(urls)
            missing = any(url and picture is None for url, picture in zip(urls, pictures, strict=True))
            screenshot = await self._engine.draw(page_data(data, pictures), wait_until, deadline)
            return await asyncio.to_thread(png.compress, screenshot, DEGRADED_SECONDS if missing else self._ttl)
        finally:
            self._desks.release()


@asynccontextmanager
async def _storing(deadline: float) -> AsyncIterator[None]:
    """The bucket's faults become :class:`UploadFailed`; a picture that is ready late still gets half a second."""
    try:
        async with asyncio.timeout_at(max(deadline, asyncio.get_running_loop().time() + DRAWING_SECONDS)):
            yield
    except (Unavailable, TimeoutError) as error:
        raise UploadFailed(str(error) or "the bucket did not answer in time") from error
