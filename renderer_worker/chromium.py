"""One Chromium that comes back: started when first needed, and anew when it crashed, hung or is worn out.

No page ever reaches the network: the template is served by the route handler, everything else is aborted, the
content security policy allows only ``data:`` pictures, and the browser resolves no name.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, Route, async_playwright
from playwright.async_api import Error as PlaywrightError

from cards.card import GENERIC_CARD
from cards.data import HEIGHT, WIDTH
from cards.template import Template
from clients.logs import get_logger
from clients.metrics import RENDER_BROWSER_STARTS
from renderer_worker.errors import BrowserUnavailable
from renderer_worker.memory import resident_bytes

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
START_SECONDS = 20.0
CLOSE_SECONDS = 60.0
CARDS_BETWEEN_WEIGHINGS = 25
_CLOCK_SLACK_SECONDS = 0.1

_log = get_logger()


class PageLost(Exception):
    """The page died under its card: another one may draw it."""


@dataclass(frozen=True)
class Wear:
    """When a browser is replaced: after so many cards, or above so many bytes of memory."""

    cards: int
    memory_bytes: int


class Driver:
    """Playwright's own process, which speaks to every browser. Made when first needed, and anew after it was lost."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._starting = asyncio.Lock()
        self._failures = 0

    async def playwright(self) -> Playwright:
        """The driver that runs."""
        async with self._starting:
            if self._playwright is None:
                self._playwright = await async_playwright().start()
            return self._playwright

    def runs(self, playwright: Playwright) -> bool:
        """Whether this one has not been left behind. Of one that has, browsers still say that they are connected."""
        return playwright is self._playwright

    def started_a_browser(self) -> None:
        """It works."""
        self._failures = 0

    def blame(self, playwright: Playwright, error: Exception) -> None:
        """A browser did not start. An error of Playwright's may be the browser's own fault once, and others draw on.

        Any other error, or a second in a row, is the driver's.
        """
        if not self.runs(playwright):
            return
        self._failures += 1
        if self._failures > 1 or not isinstance(error, PlaywrightError):
            self.forget(playwright)

    def forget(self, playwright: Playwright) -> None:
        """Leave a driver behind that is broken, its browsers with it; the next browser starts another."""
        if self.runs(playwright):
            self._playwright = None
            self._failures = 0
            later(playwright.stop())

    async def stop(self) -> None:
        """End it, and with it every browser that still runs."""
        if self._playwright is not None:
            await _quietly(self._playwright.stop())


@dataclass(eq=False)
class _Running:
    """A browser process, from its start until it is replaced."""

    driver: Driver
    playwright: Playwright
    browser: Browser
    context: BrowserContext
    process_id: int
    cards: int = 0
    drawing: int = 0
    pages_not_opened: int = 0
    retired: bool = False

    @property
    def alive(self) -> bool:
        return not self.retired and self.driver.runs(self.playwright) and self.browser.is_connected()

    def retire(self) -> None:
        """No further page or card: it is closed once it has finished those it has."""
        self.retired = True
        if not self.drawing:
            later(self.browser.close())


@dataclass(eq=False)
class WarmPage:
    """A page with the template loaded. A card is data handed to it."""

    home: _Running
    page: Page
    devtools: CDPSession

    @property
    def usable(self) -> bool:
        """Whether it still belongs to a browser that draws."""
        return self.home.alive and not self.page.is_closed()


class Chromium:
    """One place for a browser, whose pages should take at most *page_seconds* for a card."""

    def __init__(self, executable: str, page_seconds: float, driver: Driver, template: Template, wear: Wear) -> None:
        self._executable = executable
        self._page_seconds = page_seconds
        self._driver = driver
        self._template = template
        self._wear = wear
        self._running: _Running | None = None
        self._launching: asyncio.Task[_Running] | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._fruitless_seconds = 0.0
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether the browser runs."""
        return self._running is not None and self._running.alive

    @property
    def sound(self) -> bool:
        """Whether it runs and its last card came in time."""
        return self.alive and not self._fruitless_seconds

    async def open_page(self, within: float) -> WarmPage:
        """A page that has drawn already: fonts are decoded and its code is compiled before anybody waits for it.

        Raises :class:`PageLost`, also where it takes more than *within* seconds: Playwright waits for ever for a page
        that dies while it is made. Raises :class:`BrowserUnavailable` where the browser does not start.
        """
        running = await self._ensure()
        try:
            async with asyncio.timeout(within):
                warm = await self._open_page(running)
        except TimeoutError as error:
            raise PageLost(f"no page after {within:.1f} s") from error
        except PageLost:
            running.pages_not_opened += 1
            # One can die by itself. A browser that loses two in a row is lost itself, whatever Playwright says of it.
            if running.pages_not_opened > 1 and running.alive:
                running.retire()
            raise
        running.pages_not_opened = 0
        return warm

    async def _open_page(self, running: _Running) -> WarmPage:
        with self._losses(running):
            page = await running.context.new_page()
            try:
                await page.goto(PAGE_URL)
                warm = WarmPage(running, page, await running.context.new_cdp_session(page))
                await page.evaluate("() => warmUp()")
                await _screenshot(warm, GENERIC_CARD)
            except BaseException:
                later(page.close())
                raise
        return warm

    async def draw(self, warm: WarmPage, card: dict[str, Any]) -> bytes:
        """A PNG screenshot of *card*; raises :class:`PageLost`. A page that raised anything is not to be used again."""
        running = warm.home
        running.drawing += 1
        finished = False
        try:
            with self._losses(running):
                picture = await _screenshot(warm, card)
            finished = True
        finally:
            running.drawing -= 1
            if not finished:
                later(warm.page.close())
            if running.retired and not running.drawing:
                later(running.browser.close())
        running.cards += 1
        self._fruitless_seconds = 0.0
        await self._weigh(running)
        return picture

    def count_fruitless(self, seconds: float) -> None:
        """A card had so many seconds and did not come. Two whole cards' time without any: the browser hangs."""
        self._fruitless_seconds += seconds
        if self._fruitless_seconds < 2 * self._page_seconds - _CLOCK_SLACK_SECONDS or self._running is None:
            return
        _log.error("browser hangs, starting another", fruitless_seconds=round(self._fruitless_seconds, 1))
        self._fruitless_seconds = 0.0
        running, self._running = self._running, None
        running.retired = True
        # Not asked to close, to which it would not answer either: so the cards that still wait for it hear at once.
        with suppress(ProcessLookupError):
            os.kill(running.process_id, signal.SIGKILL)
        later(running.browser.close())

    async def close(self) -> None:
        """Stop the browser."""
        self._closed = True
        for task in (self._launching, self._replacing):
            if task is not None:
                task.cancel()
        if self._running is not None:
            await _quietly(self._running.browser.close())

    async def _weigh(self, running: _Running) -> None:
        """Have a worn-out browser replaced: it draws on until the other stands ready, then finishes what it has."""
        if running is not self._running or (self._replacing is not None and not self._replacing.done()):
            return
        worn = running.cards >= self._wear.cards
        if not worn and running.cards % CARDS_BETWEEN_WEIGHINGS == 0:
            worn = await asyncio.to_thread(resident_bytes, running.process_id) > self._wear.memory_bytes
        if worn:
            self._replacing = asyncio.create_task(self._replace(running))

    async def _replace(self, worn: _Running) -> None:
        _log.info("browser worn out, starting another", cards=worn.cards)
        with suppress(BrowserUnavailable):
            fresh = await self._launch()
            if self._running is not worn:
                # It crashed meanwhile, and a card has had another started.
                later(fresh.browser.close())
                return
            self._running = fresh
            worn.retire()

    async def _ensure(self) -> _Running:
        if self._running is not None and self._running.alive:
            return self._running
        if self._launching is None or self._launching.done():
            self._launching = asyncio.create_task(self._launch_here())
        # Shielded: a caller whose time is up must not leave half a browser behind.
        return await asyncio.shield(self._launching)

    async def _launch_here(self) -> _Running:
        self._running = await self._launch()
        return self._running

    async def _launch(self) -> _Running:
        playwright = None
        try:
            async with asyncio.timeout(START_SECONDS):
                playwright = await self._driver.playwright()
                running = await self._start(playwright)
        except Exception as error:
            if playwright is not None:
                self._driver.blame(playwright, error)
            raise BrowserUnavailable(f"the browser does not start: {error}") from error
        self._driver.started_a_browser()
        RENDER_BROWSER_STARTS.inc()
        _log.info("browser started", version=running.browser.version)
        return running

    async def _start(self, playwright: Playwright) -> _Running:
        # Signals are ours to handle: the browser outlives SIGTERM until the last card is delivered.
        browser = await playwright.chromium.launch(
            executable_path=self._executable,
            args=list(ARGUMENTS),
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        devtools = await browser.new_browser_cdp_session()
        processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
        process_id = next(one["id"] for one in processes if one["type"] == "browser")
        await devtools.detach()
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
            service_workers="block",
            accept_downloads=False,
            locale="en-US",
        )
        await context.route("**/*", self._answer)
        running = _Running(self._driver, playwright, browser, context, process_id)
        browser.on("disconnected", lambda _: self._gone(running))
        return running

    def _gone(self, running: _Running) -> None:
        """Start another at once, rather than when the next card waits for it."""
        if running is self._running and not running.retired and not self._closed:
            _log.warning("browser gone, starting another", cards=running.cards)
            later(self._ensure())

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

    @contextmanager
    def _losses(self, running: _Running) -> Iterator[None]:
        """Playwright's errors become :class:`PageLost`."""
        try:
            yield
        except PlaywrightError as error:
            raise PageLost(str(error)) from error
        except Exception as error:
            # Bare exceptions come when Playwright's own driver process is gone; it calls the browser alive then.
            running.retired = True
            self._driver.forget(running.playwright)
            raise PageLost(str(error)) from error


async def _screenshot(warm: WarmPage, card: dict[str, Any]) -> bytes:
    await warm.page.evaluate("card => showCard(card)", card)
    answer = await warm.devtools.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
    return base64.b64decode(answer["data"])


_closing: set[asyncio.Task[None]] = set()


def later(closing: Coroutine[Any, Any, object]) -> None:
    """Close something without waiting: what hangs may never answer."""
    task = asyncio.create_task(_quietly(closing))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _quietly(closing: Coroutine[Any, Any, object]) -> None:
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
