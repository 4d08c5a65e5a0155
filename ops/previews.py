"""``wishlist previews``: pictures switched off and on by hand."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from redis.asyncio import Redis
from rich.console import Console

from clients import breaker_board
from config.settings import RedisSettings, load
from ops.outages import outages_told

console = Console()


def previews(
    static: Annotated[
        bool, typer.Option("--static/--live", help="Serve only the generic picture, or render again what has waited.")
    ],
) -> None:
    """Switch the rendering of previews off and on."""

    async def switch() -> None:
        async with Redis.from_url(load(RedisSettings).url, socket_connect_timeout=5) as redis:
            await (breaker_board.force_open(redis) if static else breaker_board.unforce(redis))

    with outages_told("Redis"):
        asyncio.run(switch())
    console.print("new shares get the generic picture" if static else "pictures are rendered")
