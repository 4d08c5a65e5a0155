"""``wishlist previews``: pictures switched off and on by hand."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from clients import breaker_board
from config.settings import RedisSettings, load

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

    try:
        asyncio.run(switch())
    except (RedisError, OSError) as error:
        console.print(f"[red]Redis cannot be reached: {error}; see REDIS_URL[/]")
        raise typer.Exit(1) from None
    console.print("new shares get the generic picture" if static else "pictures are rendered")
