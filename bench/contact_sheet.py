"""``./run bench contact_sheet``: 24 cards on a sheet to be looked at: scripts, counts, missing pictures, long names."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

from cards.card import page_data
from cards.data import CardData, Item
from cards.template import ASSETS, load_template
from cards.thumbnails import EDGE, LARGE_EDGE, shrink
from renderer_worker.browser import BrowserPool
from renderer_worker.browserless import BrowserlessEngine
from renderer_worker.chromium import Wear
from renderer_worker.engine import Engine

COLUMNS, WIDTH, HEIGHT, GAP = 4, 600, 315, 16
SECONDS = 60.0
LONG = "The extremely long list of everything that I have ever wanted, still want, and will want until the end of time"

# Title, owner, count, shown items, pictures that are missing, price.
CARDS: tuple[tuple[str, str, int, int, int, str], ...] = (
    ("Holiday Gift Ideas 2025", "Maya C.", 7, 4, 0, "$249.99"),
    ("My Birthday", "Jordan", 12, 4, 0, "$12.00"),
    ("Wunschliste für Weihnachten", "Jürgen Weiß", 3, 3, 0, "1.249,00 €"),
    ("Liste de naissance d’Élodie & Noël", "Élodie Lefèvre", 2, 2, 0, "€35.50"),
    ("Χριστουγεννιάτικα δώρα", "Ελένη Παπαδοπούλου", 9, 4, 0, "€59.00"),
    ("Подарки на день рождения", "Анастасия", 21, 4, 0, "4 990 ₽"),
    ("قائمة أمنيات العيد", "ليلى حسن", 14, 4, 0, "$89.00"),
    ("رشيمة: قائمة طويلة جدا من الهدايا التي أريدها لهذا العيد", "محمد", 5, 3, 1, "SAR 340"),
    ("רשימת המשאלות שלי ליום ההולדת", "נועה", 8, 4, 0, "₪199.90"),
    ("我的生日愿望清单", "王小明", 30, 4, 0, "¥1,299"),
    ("クリスマスに欲しいもの", "佐藤さくら", 6, 4, 0, "¥12,800"),
    ("생일 선물 목록", "김민지", 11, 4, 0, "₩45,000"),
    ("Danh sách quà tặng của tôi", "Nguyễn Thị Ánh", 4, 4, 1, "₫950,000"),
    ("🎄 Xmas 🎁 wishes 🎅🏽", "Zoë 🦊", 16, 4, 0, "£20.00"),
    ("An empty list", "Sam", 0, 0, 0, ""),
    ("One single wish", "Robin", 1, 1, 0, "$1,577.47"),
    ("One wish, no picture", "Robin", 1, 1, 1, "$15.00"),
    ("Two wishes", "Alex", 2, 2, 1, "$75.00"),
    ("Nothing has a picture", "Kim", 40, 4, 4, "$9.99"),
    ("Four hundred wishes", "Collector", 400, 4, 0, "$1,234,567.00"),
    (LONG, "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh", 77, 4, 0, "$5.00"),
    ("Donaudampfschifffahrtsgesellschaftskapitänsmütze", "Ute", 5, 4, 0, "$5.00"),
    ("A", "B", 1, 1, 0, "$1"),
    ('<b>Not bold</b> & "quoted" {{7*7}}', "<script>alert(1)</script>", 7, 4, 0, "<i>1</i>"),
)


def picture(number: int, edge: int) -> str:
    files = sorted((ASSETS / "thumbnails").glob("*.jpg"))
    data = shrink(files[number % len(files)].read_bytes(), edge)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def card(number: int) -> dict[str, Any]:
    """What the engine is given for one of :data:`CARDS`."""
    title, owner, count, shown, missing, price = CARDS[number]
    items = tuple(Item(name=f"Wish {place}", price=price or None) for place in range(shown))
    edge = LARGE_EDGE if shown == 1 else EDGE
    pictures = [None if place < missing else picture(number + place, edge) for place in range(shown)]
    return page_data(CardData(wishlist_title=title, owner_name=owner, items=items, item_count=count), pictures)


def engine_of(name: str, chromium: str) -> Engine:
    if name == "browserless":
        return BrowserlessEngine(SECONDS)
    return BrowserPool(chromium, 1, 2, SECONDS, load_template(), Wear(cards=1_000, memory_bytes=2_000_000_000))


async def draw(engine: Engine) -> list[bytes]:
    await engine.start()
    now = asyncio.get_running_loop().time()
    try:
        return [await engine.draw(card(number), now + SECONDS, now + SECONDS) for number in range(len(CARDS))]
    finally:
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["chromium", "browserless"], default="chromium")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    arguments = parser.parse_args()
    drawn = asyncio.run(draw(engine_of(arguments.engine, arguments.chromium)))
    rows = -(-len(drawn) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP), "#cfcac0")
    for number, data in enumerate(drawn):
        with Image.open(io.BytesIO(data)) as one:
            small = one.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        sheet.paste(small, (GAP + number % COLUMNS * (WIDTH + GAP), GAP + number // COLUMNS * (HEIGHT + GAP)))
    file = Path(os.environ.get("WISHLIST_STATE", ".state")) / f"contact-sheet-{arguments.engine}.png"
    sheet.save(file)
    print(file)


if __name__ == "__main__":
    main()
