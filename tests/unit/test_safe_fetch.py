"""No URL, name server or redirect gets the renderer to connect to anything but a public address of a listed host."""

from __future__ import annotations

import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from cards.safe_fetch import MAX_BYTES
from cards.thumbnails import Thumbnails
from clients.public_network import Refused, is_public
from tests.image_host import HOST, OTHER, PUBLIC, ImageHost, open_image_host, response

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
URL = f"https://{HOST}/thumb.png"

FORBIDDEN_URLS = [
    "https://127.0.0.1/thumb.png",
    "https://localhost/thumb.png",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/thumb.png",
    "https://172.16.0.1/thumb.png",
    "https://192.168.1.1/thumb.png",
    "https://[::1]/thumb.png",
    "https://[::ffff:127.0.0.1]/thumb.png",
    "https://[::ffff:a9fe:a9fe]/thumb.png",
    "https://2130706433/thumb.png",
    "https://0177.0.0.1/thumb.png",
    "https://0x7f.1/thumb.png",
    f"http://{HOST}/thumb.png",
    f"https://{HOST}:8443/thumb.png",
    f"https://{HOST}@127.0.0.1/thumb.png",
    f"https://user:word@{HOST}/thumb.png",
    f"https://{HOST}.evil.example/thumb.png",
    f"https://{HOST}\\@127.0.0.1/thumb.png",
    f"https://{HOST}%2f@127.0.0.1/thumb.png",
    f"//{HOST}/thumb.png",
    "https://[::1",
    "file:///etc/passwd",
    "ftp://127.0.0.1/thumb.png",
    "javascript:alert(1)",
    pytest.param("data:image/png;base64," + "A" * 100_000_000, id="data: of 100 MB"),
]

FORBIDDEN_ADDRESSES = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "not an address",
]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[ImageHost]:
    async with open_image_host(tmp_path) as host:
        host.answers["/thumb.png"] = response(body=picture())
        yield host


async def test_a_listed_host_is_asked_at_the_address_that_was_checked(host: ImageHost) -> None:
    assert await host.fetcher.fetch(URL, 5) == picture()
    assert (host.resolved, host.connected, host.asked) == ([HOST], [PUBLIC], ["/thumb.png"])


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
async def test_forbidden_urls_are_not_even_looked_up(host: ImageHost, url: str) -> None:
    with pytest.raises(Refused):
        await host.fetcher.fetch(url, 5)
    assert host.resolved == host.connected == []


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
async def test_a_listed_name_at_a_forbidden_address_is_not_connected_to(host: ImageHost, address: str) -> None:
    assert not is_public(address)
    for answer in ([address], [PUBLIC, address]):
        host.addresses[HOST] = lambda answer=answer: answer
        with pytest.raises(Refused):
            await host.fetcher.fetch(URL, 5)
    assert host.connected == []


async def test_a_name_that_changes_its_address_after_the_check_is_not_followed(host: ImageHost) -> None:
    """DNS rebinding: the second answer is the attack, and nobody asks for a second one."""
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    host.addresses[HOST] = lambda: next(answers)
    assert await host.fetcher.fetch(URL, 5) == picture()
    assert host.resolved == [HOST]
    with pytest.raises(Refused):
        await host.fetcher.fetch(URL, 5)
    assert host.connected == [PUBLIC]


@pytest.mark.parametrize("target", [url for url in FORBIDDEN_URLS if isinstance(url, str) and not url.startswith("//")])
async def test_redirects_to_each_of_them_are_not_followed(host: ImageHost, target: str) -> None:
    host.answers["/away.png"] = response(302, Location=target)
    with pytest.raises(Refused):
        await host.fetcher.fetch(f"https://{HOST}/away.png", 5)
    assert host.asked == ["/away.png"]
    assert host.connected == [PUBLIC]


async def test_a_redirect_to_a_listed_name_at_a_forbidden_address_is_not_followed(host: ImageHost) -> None:
    host.addresses[OTHER] = lambda: ["127.0.0.1"]
    host.answers["/away.png"] = response(301, Location=f"https://{OTHER}/thumb.png")
    with pytest.raises(Refused):
        await host.fetcher.fetch(f"https://{HOST}/away.png", 5)
    assert host.connected == [PUBLIC]


async def test_redirects_among_listed_hosts_are_followed_so_far(host: ImageHost) -> None:
    host.answers["/away.png"] = response(302, Location=f"https://{OTHER}/thumb.png")
    host.answers["/round.png"] = response(302, Location="/round.png")
    assert await host.fetcher.fetch(f"https://{HOST}/away.png", 5) == picture()
    with pytest.raises(Refused, match="too many redirects"):
        await host.fetcher.fetch(f"https://{HOST}/round.png", 5)


async def test_letters_outside_ascii_are_fetched_from_url_and_location(host: ImageHost) -> None:
    host.answers["/caf%C3%A9.png"] = response(302, Location="/寿 司.png")
    host.answers["/%E5%AF%BF%20%E5%8F%B8.png"] = response(200, picture())
    assert await host.fetcher.fetch(f"https://{HOST}/café.png", 5) == picture()
    assert host.asked == ["/caf%C3%A9.png", "/%E5%AF%BF%20%E5%8F%B8.png"]


@pytest.mark.parametrize("length", ["-1", "x", "²", "9" * 5000, "1, 2"])
async def test_a_content_length_that_is_none_is_refused(host: ImageHost, length: str) -> None:
    host.answers["/odd.png"] = response(200, picture(), Content_Length=length)
    with pytest.raises(Refused):
        await host.fetcher.fetch(f"https://{HOST}/odd.png", 5)


async def test_the_certificate_must_be_the_hosts(host: ImageHost, tmp_path: Path) -> None:
    async with open_image_host(tmp_path) as other:  # Another certificate, which the first fetcher does not trust.
        other.answers["/thumb.png"] = response(body=picture())
        other.fetcher._pool._ssl_context = host.fetcher._pool._ssl_context
        with pytest.raises(Refused, match="certificate"):
            await other.fetcher.fetch(URL, 5)


@pytest.mark.parametrize(
    "answer",
    [
        response(404),
        response(body=b"<html>", content_type="text/html"),
        response(
            body=b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", content_type="image/svg+xml"
        ),
        response(body=gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip"),
        response(body=picture(), Content_Length=str(MAX_BYTES + 1)),
        response(body=b"x" * (MAX_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + b"x" * (MAX_BYTES + 1),
        b"not HTTP\r\n\r\n",
        b"",
    ],
    ids=["404", "HTML", "SVG", "gzip bomb", "said too large", "too large", "too large, unsaid", "no HTTP", "nothing"],
)
async def test_what_is_no_picture_is_refused(host: ImageHost, answer: bytes) -> None:
    host.answers["/thumb.png"] = answer
    with pytest.raises(Refused):
        await host.fetcher.fetch(URL, 5)


async def test_a_host_that_does_not_answer_in_time_is_left(host: ImageHost) -> None:
    host.answers["/thumb.png"] = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx"
    with pytest.raises(Refused):
        await host.fetcher.fetch(URL, 0.5)


def animation(frames: int) -> bytes:
    buffer = io.BytesIO()
    first, *more = [Image.new("P", (2_000, 2_000), number % 250) for number in range(frames)]
    first.save(buffer, "GIF", save_all=True, append_images=more)
    return buffer.getvalue()


def wide_gif() -> bytes:
    """A few bytes that say they are 65,535 pixels square."""
    return b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"


async def test_bombs_and_scripts_leave_a_placeholder_and_a_long_animation_its_first_frame(host: ImageHost) -> None:
    host.answers |= {
        "/wide.gif": response(body=wide_gif(), content_type="image/gif"),
        "/long.gif": response(body=animation(200), content_type="image/gif"),
        "/svg.png": response(body=SVG),
    }
    urls: list[str | None] = [f"https://{HOST}/{name}" for name in ("wide.gif", "long.gif", "svg.png", "thumb.png")]
    wide, long, svg, plain = await Thumbnails(host.fetcher, None).data_uris(urls)
    assert wide is None
    assert svg is None
    assert long is not None
    assert plain is not None
    assert long.startswith("data:image/jpeg;base64,")
