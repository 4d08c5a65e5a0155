"""Cards without a browser, by takumi: the page's own styles, and its markup made here because no script runs.

Why takumi, and what differs: docs/decisions/007-browserless-cards.md.
"""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image
from takumi_py import FontResource, ImageResource, MeasuredNode, MeasuredTextRun, Renderer

from cards.data import HEIGHT, WIDTH
from cards.template import ASSETS, FONTS, TEMPLATES

# The page's own numbers: see fitTitle in the template.
TITLE_SIZES = (92, 84, 76, 68, 60, 54, 48, 43)
TITLE_WIDTH, TITLE_HEIGHT = 514, 292
# What the bundled fonts have no letters for; those that are missing on a machine are left out.
SYSTEM_FONTS = (
    "truetype/noto/NotoSerif-Bold.ttf",
    "truetype/noto/NotoSans-SemiBold.ttf",
    "truetype/noto/NotoSans-Bold.ttf",
    "truetype/noto/NotoNaskhArabic-Bold.ttf",
    "truetype/noto/NotoSansArabic-Bold.ttf",
    "truetype/noto/NotoSerifHebrew-Bold.ttf",
    "truetype/noto/NotoSansHebrew-Bold.ttf",
    "truetype/noto/NotoSerifDevanagari-Bold.ttf",
    "truetype/noto/NotoSerifThai-Bold.ttf",
    "opentype/noto/NotoSansCJK-Bold.ttc",
    "truetype/noto/NotoColorEmoji.ttf",
)
_FONT_FOLDER = Path("/usr/share/fonts")
_UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0eff]")

# Where takumi wants it said more plainly than Chromium does.
_STYLES = """
#card { overflow: visible; }
#ribbon { position: absolute; left: 0; top: 0; width: 1200px; height: 630px; }
#title { display: block; text-overflow: ellipsis; }
.rtl #title { text-align: right; text-wrap: wrap; }
#monogram { min-width: 68px; }
.nothing {
  position: absolute; left: 0; top: 0; width: 100%; height: 100%; background: var(--pale);
  display: flex; align-items: center; justify-content: center;
}
.nothing svg { width: 50%; height: 50%; opacity: .6; }
.tag::before { display: none; }
.tag .dot { flex: none; width: 11px; height: 11px; border-radius: 50%; background: var(--ground); }
.whole .tag .dot { width: 15px; height: 15px; }
.ornament svg { position: absolute; left: 0; top: 0; width: 100%; height: 100%; }
"""


@dataclass(frozen=True)
class _Place:
    """One of the places on the card's grid."""

    picture: str | None = None
    price: str | None = None
    ornament: str | None = None
    shape: Markup | None = None

    @property
    def length(self) -> str:
        """The class that keeps a long price whole."""
        size = len(self.price or "")
        return " longest" if size > 14 else " long" if size > 10 else ""


class _Design:
    """What the page's file says about looks: styles, colours by theme, shapes by name."""

    def __init__(self) -> None:
        page = (TEMPLATES / "wishlist-share.html").read_text(encoding="utf-8")
        self.styles = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1] + _STYLES  # type: ignore[index]
        for family in ("Fraunces", "Inter"):
            self.styles = self.styles.replace(f": {family}, ", f": {_families(family)}, ", 1)
        self.colours = {
            theme: dict(re.findall(r"--(\w+): (#\w+)", values))
            for theme, values in re.findall(r"^\.(\w+)\s+\{ (--ground.*?) \}$", self.styles, re.MULTILINE)
        }
        root = re.search(r":root \{(.*?)\n\}", self.styles, re.DOTALL)[1]  # type: ignore[index]
        self._plain = dict(re.findall(r"--(\w+): (#\w+)", root))
        self._shapes = dict(re.findall(r'<template id="(\w+)">.*?(<svg.*?</svg>)', page, re.DOTALL))
        self._shapes["ribbon"] = re.search(r'<svg id="ribbon".*?</svg>', page, re.DOTALL)[0]  # type: ignore[index]
        self._shapes["small"] = re.search(r'<div id="count">\s*(<svg.*?</svg>)', page, re.DOTALL)[1]  # type: ignore[index]

    def shape(self, name: str, theme: str, **paint: str) -> Markup:
        """A drawing of the page, its colours written out: *paint* names one of the theme's for fill or stroke."""
        colours = {**self._plain, **self.colours[theme]}
        drawing = re.sub(r"var\(--(\w+)\)", lambda match: colours[match[1]], self._shapes[name])
        painted = " ".join(f'{what}="{colours.get(colour, colour)}"' for what, colour in paint.items())
        return Markup(drawing.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" {painted} ', 1))

    def dots(self, theme: str) -> Markup:
        """The ornament that the page draws by script."""
        colour = self.colours[theme]["accent"]
        circles = "".join(
            f'<circle cx="{24.4 + column * 48.8 + (24.4 if row % 2 else 0):.1f}" cy="{24.4 + row * 48.8:.1f}" r="6.5"/>'
            for row in range(5)
            for column in range(5)
        )
        return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 244 244" fill="{colour}">{circles}</svg>')


class CardDrawing:
    """Draws one card after another; to be used by one thread at a time."""

    def __init__(self) -> None:
        self._design = _Design()
        self._renderer = Renderer(load_default_fonts=False)
        for family, style, file, _ in FONTS:
            data = (ASSETS / "fonts" / f"{file}.woff2").read_bytes()
            self._renderer.register_font(FontResource(data, name=_family(family, file), style=style))
        for name in SYSTEM_FONTS:
            if (file_ := _FONT_FOLDER / name).exists():
                self._renderer.register_font(file_.read_bytes())
        self._styles = (self._renderer.compile_stylesheet_lossy(self._design.styles),)
        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
        self._markup = environment.get_template("wishlist-share.browserless.html")

    def draw(self, card: dict[str, Any]) -> bytes:
        """An uncompressed picture (BMP) of *card*, which is as :func:`cards.card.page_data` makes it."""
        pictures: list[ImageResource] = []
        places = [self._place(item, pictures) for item in card["items"]]
        rtl = _is_rtl("" if card.get("generic") else card["title"])
        title = "A wishlist, shared with you" if card.get("generic") else _plain_text(card["title"])
        html = self._markup.render(
            card={**card, "owner": _plain_text(card["owner"])},
            monogram=_first_letter(card["owner"]),
            rtl=rtl,
            title=title,
            title_style=self._title_style(title, rtl=rtl),
            number=_count(card["count"]),
            places=self._arranged(places, card["theme"]),
            ribbon=self._design.shape("ribbon", card["theme"], fill="none", stroke="ribbon"),
            gift=self._design.shape("giftbox", card["theme"]),
            heart_small=self._design.shape("small", card["theme"], fill="accent"),
            missing=self._design.shape("wish", card["theme"], fill="none", stroke="ground"),
        )
        pixels = self._renderer.render_compiled(
            self._renderer.compile_html(html).node,
            stylesheets=self._styles,
            width=WIDTH,
            height=HEIGHT,
            images=pictures,
            format="raw",
        )
        # Packed by whoever keeps it; here only what is between them counts.
        buffer = io.BytesIO()
        Image.frombuffer("RGBA", (WIDTH, HEIGHT), pixels, "raw", "RGBA", 0, 1).convert("RGB").save(buffer, "BMP")
        return buffer.getvalue()

    def _place(self, item: dict[str, Any], pictures: list[ImageResource]) -> _Place:
        uri = item.get("image")
        if not uri:
            return _Place(price=item.get("price"))
        name = f"memory://{len(pictures)}"
        pictures.append(ImageResource(name, base64.b64decode(uri.partition(",")[2]), "none"))
        return _Place(picture=name, price=item.get("price"))

    def _arranged(self, wishes: list[_Place], theme: str) -> list[_Place]:
        """As the page has it: what wishes leave free is filled with ornaments."""
        heart = _Place(ornament="heart", shape=self._design.shape("heart", theme, fill="ground"))
        if len(wishes) == 2:
            return [wishes[0], heart, _Place(ornament="dots", shape=self._design.dots(theme)), wishes[1]]
        if len(wishes) == 3:
            return [*wishes, heart]
        return wishes

    def _title_style(self, title: str, *, rtl: bool) -> str:
        """The largest size at which the title fits without a word on two lines; else the smallest, cut."""
        leading = 1.36 if rtl else 1.06
        spacing = "0" if rtl else "-0.022em"
        for size in TITLE_SIZES:
            style = (
                f"font-size: {size}px; line-height: {leading}; letter-spacing: {spacing}; "
                f"font-variation-settings: 'opsz' {size};"
            )
            # Only what is inline within something is measured line by line.
            markup = f'<div><h1 id="title" style="{style}"><span>{Markup.escape(title)}</span></h1></div>'
            node = self._renderer.compile_html(markup).node
            measured = self._renderer.measure_compiled(node, stylesheets=self._styles, width=TITLE_WIDTH, height=None)
            if measured.height <= TITLE_HEIGHT and not _breaks_words(title, _lines(measured, size)):
                return style
        lines = int(TITLE_HEIGHT / (TITLE_SIZES[-1] * leading))
        return f"{style} line-clamp: {lines};"


def _family(family: str, file: str) -> str:
    """The name that a file goes by: takumi knows no ``unicode-range``, so that each script is a family of its own."""
    script = file.removeprefix(f"{family.lower()}-").rsplit("-", 2)[0]
    return family if script == "latin" else f"{family} {script}"


def _families(family: str) -> str:
    names = dict.fromkeys(_family(family, file) for name, _, file, _ in reversed(FONTS) if name == family)
    return ", ".join(f'"{name}"' for name in names)


def _count(count: int) -> str:
    return "No items yet" if count == 0 else "1 item" if count == 1 else f"{count:,} items"


def _first_letter(name: str) -> str:
    """The first letter or digit of *name*, as a capital; a heart where there is none."""
    return next((letter.upper() for letter in name if unicodedata.category(letter)[0] in "LN"), "♥")


def _is_rtl(text: str) -> bool:
    """Whether the first letter with a direction is written from right to left (UAX #9, P2)."""
    strong = (unicodedata.bidirectional(letter) for letter in text)
    return next((kind in {"R", "AL"} for kind in strong if kind in {"L", "R", "AL"}), False)


def _plain_text(text: str) -> str:
    """*text* without control and direction characters, which would be drawn as boxes."""
    return "".join(letter for letter in text if unicodedata.category(letter) not in {"Cc", "Cf"} or letter == "\u200d")


def _lines(measured: MeasuredNode, size: int) -> list[str]:
    """The text as it stands on each line; a line has a run for every font in it, at heights of their own."""
    lines: list[tuple[float, str]] = []
    for run in _runs(measured):
        if lines and abs(run.y - lines[-1][0]) < size / 2:
            lines[-1] = (lines[-1][0], lines[-1][1] + run.text)
        else:
            lines.append((run.y, run.text))
    return [text for _, text in lines]


def _runs(measured: MeasuredNode) -> list[MeasuredTextRun]:
    return [*measured.runs, *(run for child in measured.children for run in _runs(child))]


def _breaks_words(title: str, lines: list[str]) -> bool:
    whole = set(title.split())
    return any(word not in whole and not _UNSPACED.search(word) for line in lines for word in line.split())
