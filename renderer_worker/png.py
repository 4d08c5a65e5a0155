"""PNG in and out: small files, and the time until which a picture may be reused written into the file itself."""

from __future__ import annotations

import io
import time

from PIL import Image, PngImagePlugin, UnidentifiedImageError

MAX_BYTES = 300_000  # Link-preview fetchers drop pictures above this (WhatsApp's limit is the lowest).
_EXPIRES = "Expires"


def compress(screenshot: bytes, fresh_for_seconds: float) -> bytes:
    """A palette PNG of *screenshot*, under 300 KB, that says until when it is fresh.

    256 colours with error diffusion are not told from the original by eye at this size; busier pictures get fewer.
    """
    with Image.open(io.BytesIO(screenshot)) as opened:
        picture = opened.convert("RGB")
    info = PngImagePlugin.PngInfo()
    info.add_text(_EXPIRES, str(int(time.time() + fresh_for_seconds)))
    data = b""
    for colours in (256, 128, 64, 32):
        palette = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, kmeans=0)
        reduced = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        buffer = io.BytesIO()
        reduced.save(buffer, "PNG", optimize=False, compress_level=9, pnginfo=info)
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
