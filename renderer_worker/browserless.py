"""The pool where no browser is: docs/decisions/007-browserless-cards.md."""

from __future__ import annotations

import asyncio
from typing import Any

from cards.card import GENERIC_CARD
from cards.drawing import CardDrawing
from clients.logs import get_logger
from renderer_worker.errors import PageTimeout, PoolExhausted

CANARY_SECONDS = 5.0


class BrowserlessEngine:
    """An :class:`renderer_worker.engine.Engine` that draws one card at a time: takumi holds Python's lock meanwhile.

    Packing a card lets the lock go, so that two cores are busy all the same. More need more processes.
    """

    def __init__(self, page_seconds: float) -> None:
        self.total = 1
        self.busy = 0
        self._page_seconds = page_seconds
        self._free = asyncio.Semaphore(self.total)
        self._drawing = CardDrawing()
        self._proved_at = float("-inf")
        self._canary: asyncio.Task[bool] | None = None

    @property
    def available(self) -> int:
        """Places that wait for work."""
        return self.total - self.busy

    @property
    def proof_age(self) -> float:
        """Seconds since a card was last drawn."""
        return asyncio.get_running_loop().time() - self._proved_at

    async def start(self) -> None:
        """Draw a first card."""
        await self.prove(0.0)

    async def close(self) -> None:
        """Nothing is left open."""

    async def prove(self, within: float) -> bool:
        """Whether a card was drawn in the last *within* seconds; where nobody asked for one, a canary is drawn."""
        if self.proof_age <= within:
            return True
        if self._canary is None or self._canary.done():
            self._canary = asyncio.create_task(self._draw_canary())
        return await asyncio.shield(self._canary)

    async def draw(self, card: dict[str, Any], wait_until: float, deadline: float) -> bytes:
        """As :meth:`renderer_worker.engine.Engine.draw` has it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(wait_until):
                await self._free.acquire()
        except TimeoutError as error:
            raise PoolExhausted("the card before did not finish in time") from error
        self.busy += 1
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._page_seconds)):
                picture = await asyncio.to_thread(self._drawing.draw, card)
        except TimeoutError as error:
            raise PageTimeout("the card was not drawn in time") from error
        finally:
            self.busy -= 1
            self._free.release()
        self._proved_at = loop.time()
        return picture

    async def _draw_canary(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            await self.draw(GENERIC_CARD, now + CANARY_SECONDS, now + CANARY_SECONDS)
        except Exception as error:  # whatever it was, no card was drawn; those who ask must hear that, and no error
            get_logger().error("canary not drawn", error=f"{type(error).__name__}: {error}")
            return False
        return True
