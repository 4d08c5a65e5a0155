"""A render from request to stored picture: reuse, single flight, drawing, upload."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from clients.logs import get_logger
from clients.metrics import R2_UPLOAD_SECONDS, RENDER_CACHE_HITS, RENDER_SECONDS
from clients.objects import ObjectStore, ObjectStoreError
from renderer_worker import png
from renderer_worker.browser import BrowserPool
from renderer_worker.card import cache_key, page_data
from renderer_worker.errors import UploadFailed
from renderer_worker.requests import SHOWN_ITEMS, CardData, RenderRequest
from renderer_worker.template import FALLBACK_PICTURE
from renderer_worker.thumbnails import Thumbnails

CACHE_CONTROL = "public, max-age=86400"
FALLBACK_KEY = "social/default/wishlist-share-preview.png"
# A card with a missing product picture is worth drawing again soon: the picture may only have been late.
DEGRADED_SECONDS = 60.0

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
        pool: BrowserPool,
        thumbnails: Thumbnails,
        store: ObjectStore,
        template_version: str,
        cdn_url: str,
        cache_ttl_seconds: int,
    ) -> None:
        self._pool = pool
        self._thumbnails = thumbnails
        self._store = store
        self._template_version = template_version
        self._cdn_url = cdn_url.rstrip("/")
        self._ttl = cache_ttl_seconds
        self._flights: dict[str, asyncio.Task[int]] = {}

    async def render(self, request: RenderRequest, timeout_seconds: float) -> Rendered:
        """Store the card's picture and say where it is; raises a ``RenderError``."""
        key = cache_key(self._template_version, request.data)
        content_path = f"social/by-content/{key}/preview.png"
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._provide(content_path, request.data, timeout_seconds))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        # Shielded: a caller who leaves does not take the picture away from the others.
        size = await asyncio.shield(flight)
        path = content_path
        if request.share_token is not None:
            path = f"social/{request.share_token}/preview.png"
            try:
                await self._store.copy(content_path, path)
            except ObjectStoreError as error:
                raise UploadFailed(str(error)) from error
        return Rendered(f"{self._cdn_url}/{path}", key, size)

    async def publish_fallback(self) -> None:
        """Put the generic picture where the API's fallback points."""
        try:
            picture = await asyncio.to_thread(FALLBACK_PICTURE.read_bytes)
            await self._store.put(FALLBACK_KEY, picture, "image/png", CACHE_CONTROL)
        except ObjectStoreError as error:
            _log.warning("generic picture not published", error=str(error))

    async def _provide(self, path: str, data: CardData, timeout_seconds: float) -> int:
        try:
            stored = await self._store.get(path)
            if stored is not None and png.fresh_until(stored) > time.time():
                RENDER_CACHE_HITS.inc()
                return len(stored)
            with RENDER_SECONDS.time():
                picture = await self._draw(data, timeout_seconds)
            with R2_UPLOAD_SECONDS.time():
                await self._store.put(path, picture, "image/png", CACHE_CONTROL)
        except ObjectStoreError as error:
            raise UploadFailed(str(error)) from error
        return len(picture)

    async def _draw(self, data: CardData, timeout_seconds: float) -> bytes:
        urls = [item.image for item in data.items[:SHOWN_ITEMS]]
        pictures = await self._thumbnails.data_uris(urls)
        missing = any(url and picture is None for url, picture in zip(urls, pictures, strict=True))
        screenshot = await self._pool.draw(page_data(data, pictures), timeout_seconds, timeout_seconds)
        return await asyncio.to_thread(png.compress, screenshot, DEGRADED_SECONDS if missing else self._ttl)
