"""The pool of pages against a Chromium that does not always give one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from cards.card import GENERIC_CARD
from cards.template import load_template
from config.settings import RendererSettings
from renderer_worker import browser
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import Wear

CHROMIUM = RendererSettings().chromium_path

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
    pool = BrowserPool(CHROMIUM, 1, 1, 20.0, load_template(), Wear(cards=1_000, memory_bytes=1_000_000_000))
    try:
        async with asyncio.timeout(60):
            await pool.start()
            now = asyncio.get_running_loop().time()
            picture = await pool.draw(GENERIC_CARD, now + 20, now + 20)
    finally:
        await pool.close()
    assert picture.startswith(b"\x89PNG")
    assert len(asked) == 2
