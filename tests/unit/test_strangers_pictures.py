"""Whatever strangers' bytes do, pictures and objects answer with their own error types."""

from __future__ import annotations

import io
import random
import socketserver
import threading

import pytest
from PIL import Image

from cards.process import DrawingProcess, NotDrawn
from cards.safe_fetch import encoded
from cards.thumbnails import FORMATS, NoThumbnail, shrink
from clients.faults import Unavailable
from clients.objects import ObjectStore
from config.settings import ObjectStoreSettings


def picture(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((48, 32), 60).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("block", [b"MM\0*\0\0\0", b"MM\0*", b"II*\0\x08\0"])
def test_a_jpeg_with_a_truncated_exif_block_is_drawn(block: bytes) -> None:
    damaged = picture("JPEG", dpi=(72, 72), exif=b"Exif\0\0" + block)
    assert Image.open(io.BytesIO(shrink(damaged, 320))).size == (48, 32)


def test_a_sound_exif_block_still_rotates() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert Image.open(io.BytesIO(shrink(picture("JPEG", exif=exif.tobytes()), 320))).size == (32, 48)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mutated_picture_is_drawn_or_is_no_thumbnail(kind: str) -> None:
    chance = random.Random(kind)
    sound = picture(kind)
    for _ in range(400):
        damaged = bytearray(sound[: chance.choice((len(sound), chance.randrange(len(sound))))])
        for _ in range(chance.randrange(1, 12) if damaged else 0):
            damaged[chance.randrange(min(len(damaged), chance.choice((64, 10_000))))] = chance.randrange(256)
        try:
            shrink(bytes(damaged), 320)
        except NoThumbnail:
            continue


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://h.example/caf\u00e9.png", "https://h.example/caf%C3%A9.png"),
        ("https://h.example/a b\\c^.png?q=\u5bff'\"", "https://h.example/a%20b/c%5E.png?q=%E5%AF%BF%27%22"),
        ("https://h.example/a%20b%zz.png?x={|}#part", "https://h.example/a%20b%zz.png?x={|}"),
        ("https://h.example/a.png?u=a%26b&v=1+2", "https://h.example/a.png?u=a%26b&v=1+2"),
    ],
)
def test_urls_are_encoded_as_browsers_do(url: str, sent: str) -> None:
    assert encoded(url) == sent


class BreaksOff(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nhalf")


async def test_a_card_that_is_no_json_is_not_drawn() -> None:
    with pytest.raises(NotDrawn):
        await DrawingProcess(5).draw({"title": "\ud800"})


async def test_an_object_that_breaks_off_is_an_object_store_error() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), BreaksOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = ObjectStoreSettings(
            endpoint_url=f"http://127.0.0.1:{server.server_address[1]}", access_key_id="a", secret_access_key="b"
        )
        try:
            with pytest.raises(Unavailable):
                await ObjectStore(settings).get("social/x/preview.png")
        finally:
            server.shutdown()
