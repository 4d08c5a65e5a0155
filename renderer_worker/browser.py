"""One Chromium, a few warm pages. A page loads the template once; a card is data handed to it.

No page ever reaches the network: the template is served by the route handler, everything else is aborted, the
content security policy allows only ``data:`` pictures, and the browser resolves no name.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, Route, async_playwright
from playwright.async_api import Error as PlaywrightError

from clients.logs import get_logger
from renderer_worker.card import GENERIC_CARD
from renderer_worker.errors import BrowserUnavailable, PageTimeout, PoolExhausted
from renderer_worker.requests import HEIGHT, WIDTH
from renderer_worker.template import Template

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)
PAGE_URL = "https://card.invalid/"
CARDS_PER_PAGE = 1_000  # Then the page is opened anew, so that nothing a page collects grows for ever.
START_SECONDS = 20.0
CLOSE_SECONDS = 60.0

_log = get_logger()


@dataclass
class _WarmPage:
    page: Page
    devtools: CDPSession
    cards: int = 0


@dataclass
class _Slot:
    """A place in the pool. Its page is opened when first needed, and again after it was lost."""

    warm: _WarmPage | None = None


class _PageLost(Exception):
    """The page died under its card: another one may draw it."""


class BrowserPool:
    """Draws cards, *size* at once."""

    def __init__(self, executable: str, size: int, template: Template) -> None:
        self.total = size
        self._executable = executable
        self._template = template
        self._idle: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._context: BrowserContext | None = None
        self._launching: asyncio.Task[BrowserContext] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._timeouts_in_a_row = 0

    @property
    def available(self) -> int:
        """Pages that wait for work."""
        return self._idle.qsize()

    @property
    def busy(self) -> int:
        """Pages that draw."""
        return self.total - self.available

    @property
    def alive(self) -> bool:
        """Whether the browser runs."""
        return self._browser is not None and self._browser.is_connected()

    async def start(self) -> None:
        """Start the browser and warm every page; raises :class:`BrowserUnavailable`."""
        slots = [_Slot() for _ in range(self.total)]
        await self._ensure_context()
        for slot in slots:
            try:
                slot.warm = await self._open()
            except _PageLost as error:
                raise BrowserUnavailable(str(error)) from error
            self._idle.put_nowait(slot)

    async def close(self) -> None:
        """Stop the browser."""
        with suppress(PlaywrightError):
            if self._browser is not None:
                await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()

    async def revive(self) -> None:
        """Start the browser again where it is gone; for health checks, so that an idle pod comes back by itself."""
        if not self.alive:
            with suppress(BrowserUnavailable):
                await self._ensure_context()

    async def draw(self, card: dict[str, Any], wait_until: float, deadline: float) -> bytes:
        """A PNG screenshot of *card*.

        Waits for a free page until *wait_until* (:class:`PoolExhausted`) and for the picture until *deadline*
        (:class:`PageTimeout`), both on the event loop's clock. A browser or page that dies is replaced and the card
        is tried once more.
        """
        try:
            async with asyncio.timeout_at(wait_until):
                slot = await self._idle.get()
        except TimeoutError as error:
            raise PoolExhausted("no page became free in time") from error
        try:
            async with asyncio.timeout_at(deadline):
                picture = await self._draw_twice(slot, card)
        except TimeoutError as error:
            self._count_timeout()
            raise PageTimeout("the page did not finish in time") from error
        finally:
            self._idle.put_nowait(slot)
        self._timeouts_in_a_row = 0
        return picture

    async def _draw_twice(self, slot: _Slot, card: dict[str, Any]) -> bytes:
        try:
            return await self._draw(slot, card)
        except _PageLost as error:
            _log.warning("page lost, card tried again", error=str(error))
        try:
            return await self._draw(slot, card)
        except _PageLost as error:
            raise BrowserUnavailable(str(error)) from error

    def _count_timeout(self) -> None:
        """Give up a browser in which nothing has finished for longer than all its pages can be slow by chance."""
        self._timeouts_in_a_row += 1
        if self._timeouts_in_a_row <= self.total or self._browser is None:
            return
        _log.error("browser hangs, starting another", timeouts=self._timeouts_in_a_row)
        self._timeouts_in_a_row = 0
        self._later(self._browser.close())
        self._browser = self._context = None

    async def _draw(self, slot: _Slot, card: dict[str, Any]) -> bytes:
        if slot.warm is not None and slot.warm.cards >= CARDS_PER_PAGE:
            self._later(slot.warm.page.close())
            slot.warm = None
        if slot.warm is None or slot.warm.page.is_closed():
            slot.warm = await self._open()
        # Out of its slot while it draws: a page that failed or was given up half-way is not used again.
        warm, slot.warm = slot.warm, None
        try:
            with self._losses(warm.page.context):
                picture = await _screenshot(warm, card)
            slot.warm = warm
        finally:
            if slot.warm is None:
                self._later(warm.page.close())
        warm.cards += 1
        return picture

    @contextmanager
    def _losses(self, context: BrowserContext) -> Iterator[None]:
        """Playwright's errors become :class:`_PageLost`."""
        try:
            yield
        except PlaywrightError as error:
            raise _PageLost(str(error)) from error
        except Exception as error:
            # Bare exceptions come when Playwright's own driver process is gone; it calls the browser alive then.
            if context is self._context:
                self._abandon()
            raise _PageLost(str(error)) from error

    def _abandon(self) -> None:
        """Leave browser and driver behind; the next card starts others."""
        driver, self._playwright, self._browser, self._context = self._playwright, None, None, None
        if driver is not None:
            self._later(driver.stop())

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        """Close something without waiting: what hangs may never answer."""
        task = asyncio.create_task(_quietly(closing))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _open(self) -> _WarmPage:
        context = await self._ensure_context()
        with self._losses(context):
            page = await context.new_page()
            try:
                await page.goto(PAGE_URL)
                warm = _WarmPage(page, await context.new_cdp_session(page))
                # Fonts are decoded and the code for pictures is compiled before the first caller waits for them.
                await page.evaluate("() => warmUp()")
                await _screenshot(warm, GENERIC_CARD)
            except BaseException:
                self._later(page.close())
                raise
        return warm

    async def _ensure_context(self) -> BrowserContext:
        if self._context is not None and self.alive:
            return self._context
        if self._launching is None or self._launching.done():
            self._launching = asyncio.create_task(self._launch())
        # Shielded: a caller whose time is up must not leave half a browser behind.
        return await asyncio.shield(self._launching)

    async def _launch(self) -> BrowserContext:
        try:
            async with asyncio.timeout(START_SECONDS):
                if self._playwright is None:
                    self._playwright = await async_playwright().start()
                self._browser = await self._start_browser(self._playwright)
                self._context = await self._new_context(self._browser)
        except Exception as error:
            # Playwright's own driver may be what is broken: the next try begins from nothing.
            self._abandon()
            raise BrowserUnavailable(f"the browser does not start: {error}") from error
        _log.info("browser started", version=self._browser.version)
        return self._context

    async def _start_browser(self, playwright: Playwright) -> Browser:
        # Signals are ours to handle: the browser outlives SIGTERM until the last card is delivered.
        return await playwright.chromium.launch(
            executable_path=self._executable,
            args=list(ARGUMENTS),
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )

    async def _new_context(self, browser: Browser) -> BrowserContext:
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
            service_workers="block",
            accept_downloads=False,
            locale="en-US",
        )
        await context.route("**/*", self._answer)
        return context

    async def _answer(self, route: Route) -> None:
        if route.request.url == PAGE_URL and route.request.is_navigation_request():
            await route.fulfill(
                status=200,
                content_type="text/html; charset=utf-8",
                headers={"Content-Security-Policy": self._template.content_security_policy},
                body=self._template.html,
            )
        else:
            await route.abort("blockedbyclient")


async def _screenshot(warm: _WarmPage, card: dict[str, Any]) -> bytes:
    await warm.page.evaluate("card => showCard(card)", card)
    answer = await warm.devtools.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
    return base64.b64decode(answer["data"])


async def _quietly(closing: Coroutine[Any, Any, None]) -> None:
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
