"""The preview relay and its breaker, with a renderer that fails until it is told otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from clients import breaker_board
from clients.postgres import Database
from config.settings import BreakerSettings, PostgresSettings, RedisSettings, RendererSettings
from ops.seed import key_of
from schemas.ids import new_share_token, share_id_for
from streams.preview_relay import PreviewRelay
from tests.lab import Lab, eventually, open_lab

SHARES = 12
WAIT = 3.0


class Renderer:
    """Speaks HTTP on a socket; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.works = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                token = json.loads(await reader.readexactly(length))["share_token"]
                self.asked += 1
                status, body = (
                    ("200 OK", {"cache_key": "k", "image_url": f"http://cdn/{token}"})
                    if self.works
                    else ("500 Internal Server Error", {"error": "RENDER_FAILED"})
                )
                raw = json.dumps(body).encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
                await writer.drain()
        writer.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        for _ in range(SHARES):
            token = new_share_token()
            await lab.pool.execute(
                "INSERT INTO previews (share_id, share_token, wishlist_id, due_at) VALUES ($1, $2, $3, now())",
                share_id_for(token),
                token,
                key_of("wl_8a2b3c4d5e6f"),
            )
        yield lab


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    server = await asyncio.start_server(renderer.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    renderer.url = f"http://{host}:{port}"
    yield renderer
    server.close()


async def test_an_open_breaker_spares_the_renderer_and_no_share_is_forgotten(lab: Lab, renderer: Renderer) -> None:
    async with relaying(lab, renderer), Redis.from_url(RedisSettings().url) as redis:
        await eventually(lambda: breaker_board.any_open(redis), 30, "the breaker is open")
        assert renderer.asked == 3, "the third failure opens it"
        assert await states(lab) == {"due": SHARES}

        renderer.works = True
        await eventually(lambda: all_done(lab), 30, "every share has its picture")
        assert renderer.asked == 3 + SHARES
        await eventually(lambda: closed(redis), 30, "the API hears that it is closed")


async def test_the_operator_can_stop_rendering(lab: Lab, renderer: Renderer) -> None:
    renderer.works = True
    async with Redis.from_url(RedisSettings().url) as redis:
        await breaker_board.force_open(redis)
        try:
            async with relaying(lab, renderer):
                await asyncio.sleep(1)
                assert renderer.asked == 0
                assert await breaker_board.any_open(redis), "the API serves the generic picture"
                await breaker_board.unforce(redis)
                await eventually(lambda: all_done(lab), 30, "every share has its picture")
        finally:
            await breaker_board.unforce(redis)


@asynccontextmanager
async def relaying(lab: Lab, renderer: Renderer) -> AsyncIterator[None]:
    """A relay at work."""
    relay = PreviewRelay(
        Database(PostgresSettings(dsn=lab.dsn)),
        RendererSettings(url=renderer.url, relay_renders=1),
        BreakerSettings(wait_duration_in_open_state_seconds=WAIT),
        RedisSettings(),
    )
    running = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def closed(redis: Redis) -> bool:
    return not await breaker_board.any_open(redis)


async def all_done(lab: Lab) -> bool:
    return await states(lab) == {"done": SHARES}


async def states(lab: Lab) -> dict[str, int]:
    rows = await lab.pool.fetch("SELECT state, count(*) FROM previews GROUP BY state")
    return {row["state"]: row["count"] for row in rows}
