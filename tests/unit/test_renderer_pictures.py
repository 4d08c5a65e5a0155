"""Thumbnails are made harmless, pictures small."""

from __future__ import annotations

import base64
import io
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from cards import png
from cards.template import ASSETS, FALLBACK_PICTURE, load_template
from cards.thumbnails import NoThumbnail, Thumbnails, shrink
from tests.image_host import HOST, ImageHost, open_image_host, response

PATH = "/products/prod_1a2b3c/thumb.jpg"
URL = f"https://{HOST}{PATH}"


def picture(form: str = "PNG", size: tuple[int, int] = (900, 600), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 128 if mode == "L" else (200, 30, 60, 100)[: len(mode)]).save(buffer, form)
    return buffer.getvalue()


def noise() -> bytes:
    generator = random.Random(1)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (1200, 630), generator.randbytes(1200 * 630 * 3)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("WEBP", "RGB")])
def test_a_picture_becomes_a_small_jpeg(form: str, mode: str) -> None:
    with Image.open(io.BytesIO(shrink(picture(form, mode=mode), 320))) as small:
        assert small.format == "JPEG"
        assert small.mode == "RGB"
        assert small.size == (320, 213)


def test_transparency_becomes_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(buffer, "PNG")
    with Image.open(io.BytesIO(shrink(buffer.getvalue(), 320))) as small:
        assert small.getpixel((10, 10)) == (255, 255, 255)


@pytest.mark.parametrize("source", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture()[:200], b"GIF89a"])
def test_what_is_no_picture_is_refused(source: bytes) -> None:
    with pytest.raises(NoThumbnail):
        shrink(source, 320)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    started = time.perf_counter()
    with pytest.raises(NoThumbnail):
        shrink(buffer.getvalue(), 320)
    assert time.perf_counter() - started < 0.5


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[ImageHost]:
    async with open_image_host(tmp_path) as host:
        yield host


async def test_a_picture_is_fetched_once(host: ImageHost) -> None:
    host.answers[PATH] = response(body=picture())
    source = Thumbnails(host.fetcher, None)
    first = await source.data_uris([URL, None])
    assert first == await source.data_uris([URL, ""])
    assert first[1] is None
    assert first[0] is not None
    assert first[0].startswith("data:image/jpeg;base64,")
    assert host.asked == [PATH]


async def test_a_single_picture_is_larger(host: ImageHost) -> None:
    host.answers[PATH] = response(body=picture())
    (uri,) = await Thumbnails(host.fetcher, None).data_uris([URL])
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as large:
        assert large.width == 512


async def test_a_picture_that_cannot_be_had_is_left_out(host: ImageHost) -> None:
    assert await Thumbnails(host.fetcher, None).data_uris([URL]) == [None]
    assert host.asked == [PATH]


async def test_the_development_folder_answers_for_the_host(host: ImageHost, tmp_path: Path) -> None:
    (tmp_path / "prod_1a2b3c.jpg").write_bytes(picture("JPEG"))
    source = Thumbnails(host.fetcher, tmp_path)
    uris = await source.data_uris(
        [URL, "https://cdn.vantage.com/products/..%2f/x", "https://cdn.vantage.com/products/prod_other/thumb.jpg"]
    )
    assert uris[0] is not None
    assert uris[1:] == [None, None]
    assert host.asked == []


def test_a_card_stays_under_the_limit_and_keeps_its_size() -> None:
    compressed = png.compress(FALLBACK_PICTURE.read_bytes(), 60)
    assert len(compressed) < 100_000
    with Image.open(io.BytesIO(compressed)) as card:
        assert card.size == (1200, 630)
        assert card.mode == "P"


def test_a_busy_picture_gets_fewer_colours() -> None:
    with Image.open(io.BytesIO(png.compress(noise(), 60))) as busy:
        assert len(busy.getcolors(256) or []) <= 128


def test_a_picture_says_until_when_it_is_fresh() -> None:
    before = time.time()
    assert before + 59 <= png.fresh_until(png.compress(picture(), 60)) <= time.time() + 60
    assert png.fresh_until(png.compress(picture(), None)) == 0
    assert png.fresh_until(b"not a picture") == 0
    assert png.fresh_until(b"") == 0


def test_the_kept_pictures_are_what_they_should_be() -> None:
    with Image.open(FALLBACK_PICTURE) as fallback:
        assert fallback.size == (1200, 630)
    assert FALLBACK_PICTURE.stat().st_size < png.MAX_BYTES
    drawn = {path.stem for path in (ASSETS / "thumbnails").glob("*.jpg")}
    assert drawn == {path.stem for path in (ASSETS / "illustrations").glob("*.svg")}
    assert all(path.stat().st_size < 15_000 for path in (ASSETS / "thumbnails").glob("*.jpg"))


def test_the_page_needs_nothing_from_outside() -> None:
    template = load_template()
    assert "/* fonts */" not in template.html
    assert template.html.count("@font-face") == 9
    assert "innerHTML" not in template.html
    addresses = template.html.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in addresses
    assert "https://" not in addresses
    assert template.version == load_template().version
    assert template.content_security_policy.startswith("default-src 'none'")
