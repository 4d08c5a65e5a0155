"""``python -m renderer_worker.make_assets``: draw the generic picture and the development thumbnails anew.

Their sources are the card's template and ``assets/illustrations/*.svg``; the results are kept in the repository,
because the service must have its fallback even where no browser starts.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from cards import png
from cards.card import GENERIC_CARD
from cards.template import ASSETS, FALLBACK_PICTURE, load_template
from config.settings import RendererSettings, load
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import Wear

EDGE = 480
MAX_BYTES = 15_000
SECONDS = 10.0


async def draw_fallback(executable: str) -> None:
    """The picture of a share whose own is not there."""
    pool = BrowserPool(executable, 1, 1, SECONDS, load_template(), Wear(cards=1_000, memory_bytes=1_000_000_000))
    await pool.start()
    try:
        deadline = asyncio.get_running_loop().time() + SECONDS
        screenshot = await pool.draw(GENERIC_CARD, deadline, deadline)
    finally:
        await pool.close()
    FALLBACK_PICTURE.write_bytes(png.compress(screenshot, fresh_for_seconds=None))


async def draw_thumbnails(executable: str, sources: list[Path]) -> None:
    """A JPEG for each illustration, named by its product."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport={"width": EDGE, "height": EDGE})
        for source in sources:
            await page.set_content(f"<style>body{{margin:0}}svg{{display:block}}</style>{source.read_text()}")
            screenshot = await page.screenshot()
            (ASSETS / "thumbnails" / f"{source.stem}.jpg").write_bytes(small_jpeg(screenshot))
        await browser.close()


def small_jpeg(screenshot: bytes) -> bytes:
    """The best JPEG of *screenshot* that stays under 15 KB."""
    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    data = b""
    for quality in range(88, 40, -4):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        data = buffer.getvalue()
        if len(data) < MAX_BYTES:
            break
    return data


async def main() -> None:
    """Draw everything."""
    executable = load(RendererSettings).chromium_path
    await draw_thumbnails(executable, sorted((ASSETS / "illustrations").glob("*.svg")))
    await draw_fallback(executable)


if __name__ == "__main__":
    asyncio.run(main())
