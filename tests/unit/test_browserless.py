"""Cards without a browser: the size, the limit, the colours, and text that stays text."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from cards import png
from cards.card import GENERIC_CARD, THEMES
from cards.drawing import CardDrawing
from cards.template import ASSETS
from cards.thumbnails import EDGE, shrink
from renderer_worker.browserless import BrowserlessEngine
from renderer_worker.errors import PoolExhausted


@pytest.fixture(scope="module")
def drawing() -> CardDrawing:
    return CardDrawing()


def picture() -> str:
    data = shrink((ASSETS / "thumbnails" / "prod_1a2b3c.jpg").read_bytes(), EDGE)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def card(title: str = "Gifts", items: int = 4, **changes: Any) -> dict[str, Any]:
    wishes = [{"name": "Wish", "price": "$9.99", "image": picture()} for _ in range(items)]
    return {"theme": "pine", "title": title, "owner": "Maya C.", "count": items, "items": wishes, **changes}


def pixels(drawing: CardDrawing, wanted: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(drawing.draw(wanted))).convert("RGB")


def difference(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int] | None = None) -> float:
    """Mean difference of a channel, of 255, within *box*."""
    a, b = (image.crop(box) if box else image for image in (one, other))
    return sum(ImageStat.Stat(ImageChops.difference(a, b)).mean) / 3


@pytest.mark.parametrize("items", range(5))
def test_a_card_is_of_the_size_and_below_the_limit(drawing: CardDrawing, items: int) -> None:
    data = png.compress(drawing.draw(card(items=items)), 60)
    with Image.open(io.BytesIO(data)) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (1200, 630))
    assert len(data) <= png.MAX_BYTES


@pytest.mark.parametrize("theme", THEMES)
def test_each_theme_has_its_ground(drawing: CardDrawing, theme: str) -> None:
    ground = drawing._design.colours[theme]["ground"]
    assert pixels(drawing, card(theme=theme)).getpixel((5, 5)) == tuple(bytes.fromhex(ground[1:]))


def test_the_ribbon_runs_from_edge_to_edge(drawing: CardDrawing) -> None:
    ribbon = tuple(bytes.fromhex(drawing._design.colours["pine"]["ribbon"][1:]))
    drawn = pixels(drawing, card())
    assert drawn.getpixel((2, 585)) == drawn.getpixel((1197, 80)) == ribbon


def test_the_pictures_are_on_it(drawing: CardDrawing) -> None:
    with_pictures = pixels(drawing, card())
    without = pixels(drawing, card(items=4) | {"items": [{"name": "Wish", "price": "$9.99", "image": None}] * 4})
    for box in ((640, 75, 860, 240), (904, 75, 1120, 240), (640, 340, 860, 500), (904, 340, 1120, 500)):
        assert difference(with_pictures, without, box) > 10


def test_right_to_left_is_mirrored(drawing: CardDrawing) -> None:
    ground = drawing._design.colours["pine"]["ground"]
    drawn = pixels(drawing, card("רשימה", items=4))
    assert drawn.getpixel((760, 10)) == tuple(bytes.fromhex(ground[1:]))
    # The tiles stand where the words do otherwise.
    assert difference(drawn, pixels(drawing, card("Liste")), (70, 70, 300, 300)) > 30


@pytest.mark.parametrize(
    "titles",
    [
        ("Ελληνικά", "Ψώνια μου"),
        ("Подарки", "Желания"),
        ("قائمتي", "هداياي"),
        ("משאלות", "מתנות"),
        ("中文", "愿望"),
        ("クリ", "スマ"),
        ("생일", "선물"),
        ("ặ", "ủ"),
        ("🎄", "🎁"),
    ],
)
def test_every_script_has_letters(drawing: CardDrawing, titles: tuple[str, str]) -> None:
    """A missing letter is a box, the same for all: titles of as many letters would be alike, and like boxes."""
    one, other = (pixels(drawing, card(title)) for title in titles)
    boxes = [pixels(drawing, card("\U0002ffff" * len(title))) for title in titles]
    assert difference(one, other) > 0.05
    assert all(difference(drawn, box) > 0.05 for drawn, box in zip((one, other), boxes, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="x">',
        "</h1></section><h1>Mine</h1>",
        "&lt;b&gt; &amp; {{7*7}} {% raw %}",
        '"; color: red; x: "',
        "a\u202eb\x07c",
        "x" * 500,
        "word " * 100,
        "",
    ],
)
def test_hostile_text_is_drawn_as_text(drawing: CardDrawing, text: str) -> None:
    """What markup could do, move or remove the tiles, it has not done."""
    calm = pixels(drawing, card())
    drawn = pixels(drawing, card(text or "x", owner=text) | {"items": card()["items"]})
    assert difference(calm, drawn, (628, 61, 1136, 569)) < 0.5
    wild = pixels(drawing, card(items=4) | {"items": [{"name": text, "price": text[:24], "image": picture()}] * 4})
    assert difference(calm, wild, (640, 75, 860, 230)) < 0.5


def test_markup_and_its_escape_are_two_texts(drawing: CardDrawing) -> None:
    assert difference(pixels(drawing, card("<b>A</b>")), pixels(drawing, card("A"))) > 0.5
    assert difference(pixels(drawing, card("&lt;")), pixels(drawing, card("<"))) > 0.1


async def test_the_engine_proves_itself_and_says_when_it_is_busy() -> None:
    engine = BrowserlessEngine(5.0)
    await engine.start()
    assert engine.proof_age < 5
    now = asyncio.get_running_loop().time()
    first = asyncio.create_task(engine.draw(GENERIC_CARD, now + 5, now + 5))
    await asyncio.sleep(0)
    with pytest.raises(PoolExhausted):
        await engine.draw(GENERIC_CARD, now, now + 5)
    assert Image.open(io.BytesIO(await first)).size == (1200, 630)
    assert engine.available == engine.total
