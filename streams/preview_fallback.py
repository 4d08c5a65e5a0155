"""Cards without a browser, for shares that would have none while the breaker is open (DESIGN 6).

Such a share stays due: once the breaker closes its card is drawn by the renderer. Its place among the others is the
time of its last view, or of this card.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
from pydantic import ValidationError

from cards.card import page_data
from cards.data import SHOWN_ITEMS, CardData
from cards.process import DrawingProcess, NotDrawn
from cards.thumbnails import Thumbnails
from clients import metrics
from clients.logs import get_logger
from clients.objects import ObjectStore, ObjectStoreError, preview_key
from streams.preview_card import card_of

_LEASE_SECONDS = 30.0
# The process may have its fonts to load first, on a machine that is busy.
_DRAWING_SECONDS = 15.0
_RETRY_SECONDS = 5.0
# Nobody may keep it: the picture proper comes after it.
_CACHE_CONTROL = "no-store"

_TAKE = """
    UPDATE previews SET fallback = 'drawing', lease_owner = $1, lease_until = now() + make_interval(secs => $2)
    WHERE share_id = (
        SELECT share_id FROM previews
        WHERE state = 'due' AND fallback IN ('wanted', 'drawing') AND (lease_until IS NULL OR lease_until < now())
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING share_id, share_token, wishlist_id"""
# Asked for anew meanwhile, it is wanted again and another one follows.
_DRAWN = """
    UPDATE previews SET fallback = CASE WHEN fallback = 'drawing' THEN 'drawn' ELSE fallback END, due_at = now(),
           lease_owner = NULL, lease_until = NULL
    WHERE share_id = $1 AND lease_owner = $2"""
# What the share shows cannot be drawn this way, and could not the next time.
_NOT_DRAWN = """
    UPDATE previews SET fallback = CASE WHEN fallback = 'drawing' THEN 'none' ELSE fallback END,
           lease_owner = NULL, lease_until = NULL
    WHERE share_id = $1 AND lease_owner = $2"""
_LATER = "UPDATE previews SET lease_until = now() + make_interval(secs => $3) WHERE share_id = $1 AND lease_owner = $2"


class FallbackCards:
    """Draws one card at a time, whatever number of tasks ask."""

    def __init__(self, thumbnails: Thumbnails, store: ObjectStore) -> None:
        self._thumbnails = thumbnails
        self._store = store
        self._owner = uuid4().hex
        self._one = asyncio.Lock()
        self._drawing = DrawingProcess(_DRAWING_SECONDS)

    async def draw_one(self, pool: asyncpg.Pool) -> bool:
        """Draw the card of the share that has waited longest for any; whether there was one."""
        async with self._one:
            job = await pool.fetchrow(_TAKE, self._owner, _LEASE_SECONDS)
            if job is None:
                return False
            share_id = job["share_id"]
            try:
                card = CardData.model_validate(await card_of(pool, share_id, job["wishlist_id"]))
                picture = await self._draw(card)
                await self._store.put(preview_key(job["share_token"]), picture, "image/png", _CACHE_CONTROL)
            except ObjectStoreError as error:
                get_logger().warning("fallback card not stored", share_id=str(share_id), error=str(error))
                await pool.execute(_LATER, share_id, self._owner, _RETRY_SECONDS)
            except (ValidationError, NotDrawn) as error:
                metrics.PREVIEWS_DONE.labels("fallback_failed").inc()
                get_logger().error("fallback card not drawn", share_id=str(share_id), error=str(error)[:500])
                await pool.execute(_NOT_DRAWN, share_id, self._owner)
            else:
                metrics.PREVIEWS_DONE.labels("fallback").inc()
                await pool.execute(_DRAWN, share_id, self._owner)
            return True

    async def aclose(self) -> None:
        """End the process that draws."""
        await self._drawing.aclose()

    async def _draw(self, card: CardData) -> bytes:
        pictures = await self._thumbnails.data_uris([item.image for item in card.items[:SHOWN_ITEMS]])
        return await self._drawing.draw(page_data(card, pictures))
