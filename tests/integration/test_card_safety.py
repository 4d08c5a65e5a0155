"""Hostile words and addresses on a card, in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from cards.card import page_data
from cards.data import CardData, Item
from cards.safe_fetch import SafeFetcher
from cards.template import load_template
from cards.thumbnails import Thumbnails
from config.settings import RendererSettings
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import ARGUMENTS, Wear

CHROMIUM = RendererSettings().chromium_path

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium at RENDERER_CHROMIUM_PATH")

HOSTILE = {
    "script": "<script>window.ran = 1</script>",
    "img": '<img src=x onerror="window.ran = 1">',
    "svg": "<svg onload='window.ran = 1'></svg>",
    "double quotes": '" onerror="window.ran = 1" x="',
    "single quotes": "' onerror='window.ran = 1' x='",
    "end of title": "</title></template><script>window.ran = 1</script>",
    "end of script": "</script><script>window.ran = 1</script>",
    "end of style": "</style><style>*{display:none}</style>",
    "css": "red;}body{display:none}/*",
    "json": '"}];window.ran = 1;//',
    "jinja": "{{7*7}}{{nonce}}",
    "template literal": "${window.ran = 1}`",
    "javascript URL": "javascript:window.ran=1",
    "entities": "&lt;b&gt; &amp;amp; &#60;i&#62;",
    "right to left": "\u202egnp.exe\u202c \u2067x\u2069",
    "control characters": "a\x01b\x08c\x1bd\x7fe",
    "very long": "W" * 500,
}

SEEN = """() => ({
    title: document.getElementById("title").textContent,
    name: document.getElementById("name").textContent,
    prices: [...document.querySelectorAll("#wishes .tag span")].map(one => one.textContent),
    elements: [...document.querySelectorAll("*")].map(one => one.tagName),
    handlers: [...document.querySelectorAll("*")].some(one => one.getAttributeNames().some(name => /^on/.test(name))),
    ran: window.ran ?? null,
})"""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    template = load_template()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            page = await browser.new_page(viewport={"width": 1200, "height": 630})
            # Without the policy of the real page: the text must be harmless by itself.
            await page.set_content(template.html)
            yield page
        finally:
            await browser.close()


async def test_hostile_words_are_text(page: Page) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.evaluate("card => showCard(card)", card("Calm", "$5"))
    calm = await page.evaluate(SEEN)
    for name, words in HOSTILE.items():
        await page.evaluate("card => showCard(card)", card(words, words[:24]))
        seen = await page.evaluate(SEEN)
        assert seen["title"] == words, name
        assert seen["name"] == words, name
        assert seen["prices"] == [words[:24].strip()], name
        assert seen["elements"] == calm["elements"], name
        assert not seen["handlers"], name
        assert seen["ran"] is None, name
    assert dialogs == []


def card(words: str, price: str) -> dict[str, Any]:
    data = CardData(wishlist_title="x", owner_name="x", items=(Item(name=words, price=price),), item_count=1)
    # Past the model's trimming, so that the page meets the words as they are.
    return page_data(data.model_copy(update={"wishlist_title": words, "owner_name": words}), [None]) | {"theme": "pine"}


async def test_forbidden_pictures_leave_a_card_with_placeholders() -> None:
    hits: list[str] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append("hit")
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    urls: list[str] = [
        *(f"https://{host}:{port}/x" for host in ("127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "localhost")),
        f"https://[::ffff:127.0.0.1]:{port}/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        f"http://127.0.0.1:{port}/x",
        "file:///etc/passwd",
        "data:image/png;base64," + "A" * 100_000_000,
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
    ]
    # These are even on the list, so that only their addresses speak against them.
    hosts = frozenset(f"{host}:{port}" for host in ("127.0.0.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"))
    pool = BrowserPool(CHROMIUM, 1, 1, 30.0, load_template(), Wear(cards=100, memory_bytes=2_000_000_000))
    await pool.start()
    try:
        async with aclosing(SafeFetcher(hosts)) as fetcher:
            thumbnails = Thumbnails(fetcher, None)
            soon = asyncio.get_running_loop().time() + 30
            for start in range(0, len(urls), 4):
                four = urls[start : start + 4]
                items = tuple(Item(name="Wish", image=url) for url in four)
                data = CardData(wishlist_title="Safe", owner_name="Maya C.", items=items, item_count=4)
                pictures = await thumbnails.data_uris([*four])
                assert pictures == [None] * 4
                drawn = await pool.draw(page_data(data, pictures), soon, soon)
                assert drawn.startswith(b"\x89PNG")
    finally:
        await pool.close()
        server.close()
    assert hits == []
