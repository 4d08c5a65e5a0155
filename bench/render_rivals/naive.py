"""What one writes first: one browser; per card a new page, goto, DOMContentLoaded + 500 ms, a screenshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Browser, async_playwright

WAIT_MS = 500


async def seconds_for(executable: str, files: Sequence[Path], at_once: int) -> float:
    """Seconds to draw every file, so many at once, once the browser runs."""
    waiting = list(files)

    async def work(browser: Browser) -> None:
        while waiting:
            file = waiting.pop()
            page = await browser.new_page(viewport={"width": 1200, "height": 630})
            await page.goto(file.as_uri(), wait_until="domcontentloaded")
            await page.wait_for_timeout(WAIT_MS)
            await page.screenshot(type="png")
            await page.close()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        began = time.perf_counter()
        await asyncio.gather(*(work(browser) for _ in range(at_once)))
        took = time.perf_counter() - began
        await browser.close()
    return took
