"""The CDN's purge hook: told in the background, again where it fails, and never in anybody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamina

from clients.cdn import CdnPurge


@asynccontextmanager
async def hook(statuses: list[int], told: list[object]) -> AsyncIterator[str]:
    """A server that answers with *statuses* in turn, then 204, and keeps what it was *told*."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        told.append(json.loads(await reader.readexactly(length)))
        status = statuses.pop(0) if statuses else 204
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/purge"


async def test_page_and_picture_are_named() -> None:
    told: list[object] = []
    async with hook([], told) as url:
        cdn = CdnPurge(url)
        cdn.purge("https://a/page", "https://b/picture")
        await cdn.close()
    assert told == [{"urls": ["https://a/page", "https://b/picture"]}]


async def test_a_hook_that_fails_is_told_again() -> None:
    told: list[object] = []
    with stamina.set_testing(True, attempts=4):
        async with hook([503, 500], told) as url:
            cdn = CdnPurge(url)
            cdn.purge("https://a/page")
            await cdn.close()
    assert len(told) == 3


async def test_a_hook_that_is_away_is_given_up() -> None:
    with stamina.set_testing(True, attempts=2):
        cdn = CdnPurge("http://127.0.0.1:9/purge")
        cdn.purge("https://a/page")
        await cdn.close()


async def test_without_a_hook_nothing_happens() -> None:
    cdn = CdnPurge(None)
    cdn.purge("https://a/page")
    await cdn.close()
