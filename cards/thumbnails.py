"""Product pictures, fetched outside the browser and made harmless before they get in.

A picture that cannot be had is no error: the card shows a placeholder in its place.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image, ImageOps

from cards.safe_fetch import SafeFetcher
from clients.logs import get_logger
from clients.public_network import Refused

FETCH_SECONDS = 1.5
MAX_SOURCE_PIXELS = 25_000_000
EDGE = 320  # Pixels; a tile among four is 240 wide,
LARGE_EDGE = 512  # the tile of a single wish 500.
CACHED_PICTURES = 512
CACHED_SECONDS = 300.0
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF")

_PRODUCT = re.compile(r"/products/([0-9A-Za-z_-]{1,64})/")
_log = get_logger()


class NoThumbnail(Exception):
    """The picture cannot be had, with the reason."""


class Thumbnails:
    """Fetches, checks and shrinks; remembers the last few hundred for five minutes."""

    def __init__(self, fetcher: SafeFetcher, folder: Path | None) -> None:
        self._fetcher = fetcher
        self._folder = folder
        self._known: OrderedDict[tuple[str, int], tuple[float, str]] = OrderedDict()

    async def data_uris(self, urls: list[str | None]) -> list[str | None]:
        """A ``data:`` URI for each URL, in order; None where there is no picture."""
        edge = LARGE_EDGE if len(urls) == 1 else EDGE
        return list(await asyncio.gather(*(self._data_uri(url, edge) for url in urls)))

    async def _data_uri(self, url: str | None, edge: int) -> str | None:
        if not url:
            return None
        known = self._known.get((url, edge))
        if known is not None and known[0] > time.monotonic():
            self._known.move_to_end((url, edge))
            return known[1]
        try:
            source = await self._read(url)
            jpeg = await asyncio.to_thread(shrink, source, edge)
        except NoThumbnail as error:
            _log.warning("thumbnail left out", url=url[:200], reason=str(error))
            return None
        uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        self._known[url, edge] = (time.monotonic() + CACHED_SECONDS, uri)
        while len(self._known) > CACHED_PICTURES:
            self._known.popitem(last=False)
        return uri

    async def _read(self, url: str) -> bytes:
        try:
            self._fetcher.check(url)
            if self._folder is not None:
                return await asyncio.to_thread(_from_folder, self._folder, urlsplit(url).path)
            return await self._fetcher.fetch(url, FETCH_SECONDS)
        except Refused as error:
            raise NoThumbnail(str(error)) from error


@asynccontextmanager
async def open_thumbnails(hosts: str, folder: str | None) -> AsyncIterator[Thumbnails]:
    """Pictures from *hosts* (comma-separated), or, in development, from *folder* in their stead."""
    allowed = frozenset(host.strip().lower() for host in hosts.split(",") if host.strip())
    async with aclosing(SafeFetcher(allowed)) as fetcher:
        yield Thumbnails(fetcher, Path(folder) if folder else None)


def shrink(source: bytes, edge: int) -> bytes:
    """Decode *source* and encode it anew as a JPEG of at most *edge* pixels: nothing but pixels passes.

    Raises :class:`NoThumbnail`, and nothing else, for damaged bytes and for pictures of more than 25 megapixels.
    """
    try:
        with Image.open(io.BytesIO(source), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_SOURCE_PIXELS:
                raise NoThumbnail("too many pixels")
            opened.draft("RGB", (edge * 2, edge * 2))
            upright = _upright(opened)
            upright.thumbnail((edge, edge), Image.Resampling.LANCZOS)
            flat = Image.new("RGB", upright.size, "white")
            coloured = upright.convert("RGBA")
            flat.paste(coloured, mask=coloured)
            buffer = io.BytesIO()
            flat.save(buffer, "JPEG", quality=88)
            return buffer.getvalue()
    except NoThumbnail:
        raise
    except Exception as error:  # Pillow documents no list: damaged files raise struct.error, TypeError, IndexError, ...
        raise NoThumbnail(f"no picture: {type(error).__name__}: {error}") from error


def _upright(picture: Image.Image) -> Image.Image:
    """Rotate *picture* as its EXIF block says; damaged EXIF costs the rotation, not the picture."""
    picture.load()  # An error in the pixels must not pass for one in the EXIF block.
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:
        _log.info("EXIF block ignored", reason=f"{type(error).__name__}: {error}")
        return picture


def _from_folder(folder: Path, path: str) -> bytes:
    match = _PRODUCT.search(path)
    if match is None:
        raise NoThumbnail("no product in the path")
    try:
        return (folder / f"{match[1]}.jpg").read_bytes()
    except OSError as error:
        raise NoThumbnail("not in the development folder") from error
