"""One Chromium, a few warm pages. A page loads the template once; a card is data handed to it.

No page ever reaches the network: the template is served by the route handler, everything else is aborted, the
content security policy allows only ``data:`` pictures, and the browser resolves no name.
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, Route, async_playwright
from playwright.async_api import Error as PlaywrightError

from clients.logs import get_logger
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


class BrowserPool:
    """Draws cards, *size* at once."""

    def __init__(self, executable: str, size: int, template: Template) -> None:
        self.total = size
        self._executable = executable
        self._template = template
        self._idle: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._context: BrowserContext | None = None

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
            slot.warm = await self._open()
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

    async def draw(self, card: dict[str, Any], wait_seconds: float, draw_seconds: float) -> bytes:
        """A PNG screenshot of *card*.

        Waits *wait_seconds* for a free page (:class:`PoolExhausted`), then *draw_seconds* for the picture
        (:class:`PageTimeout`). A browser or page that dies is replaced and the card is tried once more.
        """
        try:
            async with asyncio.timeout(wait_seconds):
                slot = await self._idle.get()
        except TimeoutError as error:
            raise PoolExhausted(f"no page became free within {wait_seconds:.1f} s") from error
        try:
            async with asyncio.timeout(draw_seconds):
                try:
                    return await self._draw(slot, card)
                except PlaywrightError as error:
                    _log.warning("page lost, card tried again", error=str(error))
                    try:
                        return await self._draw(slot, card)
                    except PlaywrightError as again:
                        raise BrowserUnavailable(str(again)) from again
        except TimeoutError as error:
            raise PageTimeout(f"no picture within {draw_seconds:.1f} s") from error
        finally:
            self._idle.put_nowait(slot)

    async def _draw(self, slot: _Slot, card: dict[str, Any]) -> bytes:
        if slot.warm is not None and slot.warm.cards >= CARDS_PER_PAGE:
            self._close_later(slot.warm.page)
            slot.warm = None
        if slot.warm is None or slot.warm.page.is_closed():
            slot.warm = await self._open()
        warm, slot.warm = slot.warm, None
        finished = False
        try:
            await warm.page.evaluate("card => showCard(card)", card)
            answer = await warm.devtools.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
            finished = True
        finally:
            # A page that failed or was given up half-way is not used again: nobody knows what it shows.
            slot.warm = warm if finished else None
            if not finished:
                self._close_later(warm.page)
        warm.cards += 1
        return base64.b64decode(answer["data"])

    def _close_later(self, page: Page) -> None:
        task = asyncio.create_task(_close(page))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _open(self) -> _WarmPage:
        context = await self._ensure_context()
        page = await context.new_page()
        await page.goto(PAGE_URL)
        devtools = await context.new_cdp_session(page)
        # Fonts are decoded and the picture code is compiled before the first caller waits for them.
        await page.evaluate("() => warmUp()")
        await devtools.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return _WarmPage(page, devtools)

    async def _ensure_context(self) -> BrowserContext:
        async with self._starting:
            if self._context is not None and self.alive:
                return self._context
            try:
                async with asyncio.timeout(START_SECONDS):
                    self._context = await self._launch()
            except (PlaywrightError, TimeoutError, OSError) as error:
                raise BrowserUnavailable(f"the browser does not start: {error}") from error
            return self._context

    async def _launch(self) -> BrowserContext:
        if self._playwright is None:
            self._playwright = await async_playwright().start()
        # Signals are ours to handle: the browser outlives SIGTERM until the last card is delivered.
        self._browser = await self._playwright.chromium.launch(
            executable_path=self._executable,
            args=list(ARGUMENTS),
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        context = await self._browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
            service_workers="block",
            accept_downloads=False,
            locale="en-US",
        )
        await context.route("**/*", self._answer)
        _log.info("browser started", version=self._browser.version)
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


async def _close(page: Page) -> None:
    # A hung page may never answer; the browser keeps the request and frees it when it can.
    with suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            await page.close()
