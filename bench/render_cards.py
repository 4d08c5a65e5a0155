"""The cards that the renderers are measured on: four photographs each, no two alike."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import orjson

from cards.card import THEMES
from cards.template import load_template
from cards.thumbnails import EDGE, shrink

# Photographs that come with scikit-image, free to use.
_PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")
_PACKAGE = "scikit-image==0.26.0"


def photographs(cache: Path) -> list[str]:
    """Four photographs as the ``data:`` URIs that the service makes of thumbnails; fetched once into *cache*."""
    folder = cache / "photographs"
    if not (folder / "skimage").exists():
        uv = str(cache / "uv" / "bin" / "uv")
        subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--target", str(folder), _PACKAGE], check=True)
    sources = ((folder / "skimage" / "data" / name).read_bytes() for name in _PHOTOGRAPHS)
    return [f"data:image/jpeg;base64,{base64.b64encode(shrink(source, EDGE)).decode()}" for source in sources]


def cards(count: int, pictures: list[str]) -> list[dict[str, Any]]:
    """So many cards, as the page gets them: every one with another title, theme after theme, the pictures turned."""
    return [
        {
            "theme": THEMES[number % len(THEMES)],
            "title": f"Holiday Gift Ideas, number {number + 1}",
            "owner": "Maya C.",
            "count": 4 + number % 9,
            "items": [
                {"name": f"Wish {place + 1}", "price": f"${20 + number}.{place}9", "image": picture}
                for place, picture in enumerate(pictures[number % 4 :] + pictures[: number % 4])
            ],
        }
        for number in range(count)
    ]


def as_files(wanted: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Each card as a page of its own, its data written into the template, for those who open one page a card."""
    template = load_template()
    files = []
    for number, card in enumerate(wanted):
        file = folder / f"card-{number}.html"
        call = f"<script>showCard({orjson.dumps(card).decode()})</script></body>"
        file.write_text(template.html.replace("</body>", call), encoding="utf-8")
        files.append(file)
    return files
