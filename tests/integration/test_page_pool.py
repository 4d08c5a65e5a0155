"""The pool of pages against a Chromium that does not always give one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from cards.card import GENERIC_CARD
from cards.template import load_template
from config.settings import RendererSettings
from renderer_worker import browser
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import Chromium, Driver, PageLost, Wear
from renderer_worker.errors import BrowserUnavailable, RenderError

CHROMIUM = RendererSettings().chromium_path
PNG = b"\x89PNG"
WEAR = Wear(cards=1_000, memory_bytes=1_000_000_000)

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium at RENDERER_CHROMIUM_PATH")


async def test_a_page_that_never_opens_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright waits for ever for a page whose process dies while it is made."""
    opened = BrowserContext.new_page
    asked: list[BrowserContext] = []

    async def never_at_first(context: BrowserContext) -> Page:
        asked.append(context)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return await opened(context)

    monkeypatch.setattr(BrowserContext, "new_page", never_at_first)
    monkeypatch.setattr(browser, "START_SECONDS", 8.0)
    pool = BrowserPool(CHROMIUM, 1, 1, 20.0, load_template(), WEAR)
    try:
        async with asyncio.timeout(60):
            await pool.start()
            now = asyncio.get_running_loop().time()
            picture = await pool.draw(GENERIC_CARD, now + 20, now + 20)
    finally:
        await pool.close()
    assert picture.startswith(PNG)
    assert len(asked) == 2


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    driver = Driver()
    yield driver
    await driver.stop()


def place_for(executable: str, driver: Driver) -> Chromium:
    return Chromium(executable, 20.0, driver, load_template(), WEAR)


async def test_a_browser_that_does_not_start_takes_no_other_with_it(driver: Driver) -> None:
    """They share Playwright's driver, and one killed while it starts is no reason to begin with that from nothing."""
    good, bad = place_for(CHROMIUM, driver), place_for("/bin/false", driver)
    warm = await good.open_page(30)
    with pytest.raises(BrowserUnavailable):
        await bad.open_page(30)
    assert warm.usable
    assert (await good.draw(warm, GENERIC_CARD)).startswith(PNG)


async def test_browsers_of_a_driver_left_behind_are_replaced(driver: Driver) -> None:
    """Playwright calls them connected for good, and none of their pages ever opens."""
    good, bad = place_for(CHROMIUM, driver), place_for("/bin/false", driver)
    warm = await good.open_page(30)
    for _ in range(2):
        with pytest.raises(BrowserUnavailable):
            await bad.open_page(30)
    assert not warm.usable
    assert not good.alive
    again = await good.open_page(30)
    assert (await good.draw(again, GENERIC_CARD)).startswith(PNG)


async def test_a_browser_that_opens_no_page_is_replaced(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = BrowserContext.new_page
    broken: list[BrowserContext] = []

    async def refused_by_the_first(context: BrowserContext) -> Page:
        if not broken:
            broken.append(context)
        if context is broken[0]:
            raise PlaywrightError("Target page, context or browser has been closed")
        return await opened(context)

    monkeypatch.setattr(BrowserContext, "new_page", refused_by_the_first)
    place = place_for(CHROMIUM, driver)
    for _ in range(2):
        with pytest.raises(PageLost):
            await place.open_page(30)
    warm = await place.open_page(30)
    assert (await place.draw(warm, GENERIC_CARD)).startswith(PNG)


async def test_a_driver_that_is_killed_is_replaced() -> None:
    pool = BrowserPool(CHROMIUM, 2, 1, 20.0, load_template(), WEAR)
    try:
        await pool.start()
        await pool.warmed()
        for child in psutil.Process().children():
            if "run-driver" in child.cmdline():
                child.kill()
        drawn = 0
        for _ in range(6):
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(RenderError):
                drawn += (await pool.draw(GENERIC_CARD, now + 20, now + 20)).startswith(PNG)
        assert drawn >= 2
    finally:
        await pool.close()
