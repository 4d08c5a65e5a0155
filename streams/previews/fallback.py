"""The outbox of cards without a browser, for shares that would have none: while the breaker is open, or for good.

A share whose card was drawn meanwhile stays due: once the breaker closes its card is drawn by the renderer. Its place
among the others is the time of its last view, or of this card. A parked share keeps this card.
"""

from __future__ import annotations

from collections.abc import Sequence

from cards.card import page_data
from cards.data import SHOWN_ITEMS, CardData
from cards.process import DrawingProcess
from cards.thumbnails import Thumbnails
from clients import metrics
from clients.objects import ObjectStore, preview_key
from clients.outbox_rows import Done, Outcome
from clients.postgres import Database
from streams.outbox.outbox import Outbox, Row, claiming
from streams.outboxes import FALLBACK_CARDS
from streams.previews.card import card_of
from streams.previews.gate import RendererGate

# The process may have its fonts to load first, on a machine that is busy.
_DRAWING_SECONDS = 15.0
# Nobody may keep it: the picture proper comes after it.
_CACHE_CONTROL = "no-store"


class FallbackOutbox(Outbox):
    """Draws one card at a time. While the operator has stopped pictures it draws none."""

    table = FALLBACK_CARDS
    claim_sql = claiming(
        FALLBACK_CARDS,
        due="state IN ('due', 'parked') AND (state = 'parked' OR $4) AND fallback IN ('wanted', 'drawing')",
        order="due_at",
        returning="share_token, wishlist_id, fallback_failures AS failures, fallback_failures AS attempts",
        sets="fallback = 'drawing'",
    )
    # Requested again meanwhile, it is wanted again and another one follows.
    done = """fallback = CASE WHEN fallback = 'drawing' THEN 'drawn' ELSE fallback END,
              due_at = CASE WHEN state = 'due' THEN now() ELSE due_at END"""
    lease_seconds = 30.0
    idle_seconds = 0.25
    longest_pause_seconds = 10.0

    def __init__(self, database: Database, gate: RendererGate, thumbnails: Thumbnails, store: ObjectStore) -> None:
        self._database = database
        self._gate = gate
        self._thumbnails = thumbnails
        self._store = store
        self._drawing = DrawingProcess(_DRAWING_SECONDS)

    def claim_arguments(self) -> tuple[object, ...]:
        """See :meth:`streams.outbox.outbox.Outbox.claim_arguments`."""
        return (self._gate.is_open,)

    async def capacity(self, rows: int) -> int:
        """See :meth:`streams.outbox.outbox.Outbox.capacity`."""
        return 0 if self._gate.is_stopped else rows

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        card = CardData.model_validate(await card_of(await self._database.pool(), row["id"], row["wishlist_id"]))
        pictures = await self._thumbnails.data_uris([item.image for item in card.items[:SHOWN_ITEMS]])
        picture = await self._drawing.draw(page_data(card, pictures))
        await self._store.put(preview_key(row["share_token"]), picture, "image/png", _CACHE_CONTROL)
        metrics.PREVIEWS_DONE.labels("fallback").inc()
        return [Done()]

    async def aclose(self) -> None:
        """End the process that draws."""
        await self._drawing.aclose()
