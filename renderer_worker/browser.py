"""The pool: some browsers with a few warm pages each. A card is drawn on whichever page is free."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from cards.card import GENERIC_CARD
from cards.template import Template
from clients.logs import get_logger
from renderer_worker.chromium import START_SECONDS, Chromium, Driver, PageLost, WarmPage, Wear
from renderer_worker.errors import BrowserUnavailable, PageTimeout, PoolExhausted, RenderError

# How long a canary waits for a page, and for its picture.
CANARY_WAIT_SECONDS = 2.0
CANARY_SECONDS = 5.0

_log = get_logger()
_OPENING_TRIES = 3


@dataclass(eq=False)
class _Slot:
    """A place for one page in one browser. The page is opened when first needed, and again after it was lost."""

    browser: Chromium
    warm: WarmPage | None = None
    drawing: bool = False


class BrowserPool:
    """Draws cards, *browsers* times *pages* at once; a page may take *page_seconds* for one."""

    def __init__(
        self, executable: str, browsers: int, pages: int, page_seconds: float, template: Template, wear: Wear
    ) -> None:
        self.total = browsers * pages
        self._page_seconds = page_seconds
        self._driver = Driver()
        self._browsers = [Chromium(executable, page_seconds, self._driver, template, wear) for _ in range(browsers)]
        # A first page in every browser before a second one in any.
        self._slots = [_Slot(browser) for _ in range(pages) for browser in self._browsers]
        self._idle: list[_Slot] = []
        self._free = asyncio.Semaphore(0)
        self._warming: asyncio.Task[None] | None = None
        self._canary: asyncio.Task[bool] | None = None
        self._proved_at = float("-inf")

    @property
    def available(self) -> int:
        """Warm pages that wait for work."""
        return sum(slot.warm is not None and slot.warm.usable for slot in self._idle)

    @property
    def busy(self) -> int:
        """Pages that draw."""
        return sum(slot.drawing for slot in self._slots)

    @property
    def proof_age(self) -> float:
        """Seconds since a card was last drawn, for a caller or as a canary."""
        return asyncio.get_running_loop().time() - self._proved_at

    async def start(self) -> None:
        """Return once one page can draw; the others are warmed meanwhile. Raises :class:`BrowserUnavailable`."""
        first, *others = self._slots
        first.warm = await _open(first.browser, START_SECONDS)
        self._proved_at = asyncio.get_running_loop().time()
        self._give_back(first)
        self._warming = asyncio.create_task(self._warm(others))

    async def warmed(self) -> None:
        """Return once no page is still to be warmed."""
        if self._warming is not None:
            await self._warming

    async def close(self) -> None:
        """Stop the browsers."""
        if self._warming is not None:
            self._warming.cancel()
        await asyncio.gather(*(browser.close() for browser in self._browsers))
        await self._driver.stop()

    async def prove(self, within: float) -> bool:
        """Whether a card was drawn in the last *within* seconds; where nobody asked for one, a canary is drawn.

        A browser can be connected while none of its pages answers any more: only a picture proves that it draws.
        """
        if self.proof_age <= within:
            return True
        if self._canary is None or self._canary.done():
            self._canary = asyncio.create_task(self._draw_canary())
        return await asyncio.shield(self._canary)

    async def draw(self, card: dict[str, Any], wait_until: float, deadline: float) -> bytes:
        """A PNG screenshot of *card*.

        Waits for a free page until *wait_until* (:class:`PoolExhausted`) and for the picture until *deadline*
        (:class:`PageTimeout`), both on the event loop's clock. A browser or page that dies is replaced and the card
        is tried once more.
        """
        try:
            async with asyncio.timeout_at(wait_until):
                await self._free.acquire()
        except TimeoutError as error:
            raise PoolExhausted("no page became free in time") from error
        slot = self._take()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(min(deadline, began + self._page_seconds)):
                picture = await self._draw_twice(slot, card)
        except TimeoutError as error:
            slot.browser.count_fruitless(loop.time() - began)
            raise PageTimeout("the page did not finish in time") from error
        finally:
            self._give_back(slot)
        self._proved_at = loop.time()
        return picture

    async def _draw_twice(self, slot: _Slot, card: dict[str, Any]) -> bytes:
        try:
            return await self._draw(slot, card)
        except PageLost as error:
            _log.warning("page lost, card tried again", error=str(error))
        try:
            return await self._draw(slot, card)
        except PageLost as error:
            raise BrowserUnavailable(str(error)) from error

    async def _draw(self, slot: _Slot, card: dict[str, Any]) -> bytes:
        if slot.warm is None or not slot.warm.usable:
            slot.warm = None
            # Half of the card's time: who waits for a page that never comes has time for another.
            slot.warm = await _open(slot.browser, self._page_seconds / 2)
        # Out of its slot while it draws: a page that failed or was given up half-way is not used again.
        warm, slot.warm = slot.warm, None
        picture = await slot.browser.draw(warm, card)
        slot.warm = warm
        return picture

    def _take(self) -> _Slot:
        """The idle slot that is likeliest to draw at once, and of these the one used last."""
        best = max(
            range(len(self._idle)),
            key=lambda at: (self._idle[at].browser.sound, self._idle[at].warm is not None, at),
        )
        slot = self._idle.pop(best)
        slot.drawing = True
        return slot

    def _give_back(self, slot: _Slot) -> None:
        slot.drawing = False
        self._idle.append(slot)
        self._free.release()

    async def _warm(self, slots: list[_Slot]) -> None:
        for slot in slots:
            try:
                slot.warm = await _open(slot.browser, START_SECONDS)
            except BrowserUnavailable as error:
                # Whoever needs it first tries again.
                _log.warning("page not warmed", error=str(error))
            self._give_back(slot)

    async def _draw_canary(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            await self.draw(GENERIC_CARD, now + CANARY_WAIT_SECONDS, now + CANARY_WAIT_SECONDS + CANARY_SECONDS)
        except RenderError as error:
            _log.error("canary not drawn", error=error.code, reason=str(error))
            return False
        except Exception:  # whatever it was, no card was drawn; those who ask must hear that, and no error
            _log.exception("canary not drawn")
            return False
        return True


async def _open(browser: Chromium, within: float) -> WarmPage:
    """A page, each try at it *within* so many seconds. No card has met it yet, so none is to blame for one that dies.

    One dies where the browser gives it a process of which it has not noticed yet that it is dead, and where the
    machine is so busy that a browser takes longer than it may. Raises :class:`BrowserUnavailable`.
    """
    for _ in range(_OPENING_TRIES - 1):
        try:
            return await browser.open_page(within)
        except (PageLost, BrowserUnavailable) as error:
            _log.warning("page not opened, tried again", error=str(error))
    try:
        return await browser.open_page(within)
    except PageLost as error:
        raise BrowserUnavailable(str(error)) from error
