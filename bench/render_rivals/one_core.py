"""takumi on one core: under the service's engine, alone with the same small PNG, alone with its own PNG.

Reads cards as a JSON list on stdin; prints ``{"seconds": …, "largest_bytes": …}`` for all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import orjson

from cards import png
from cards.drawing import CardDrawing
from renderer_worker.browserless import BrowserlessEngine

_PATIENCE_SECONDS = 600.0


async def engine(wanted: list[dict[str, Any]]) -> tuple[float, list[int]]:
    """As the service does it: queue, threads, deadlines."""
    pool = BrowserlessEngine(_PATIENCE_SECONDS)
    await pool.start()
    desks = asyncio.Semaphore(2 * pool.total)
    now = asyncio.get_running_loop().time

    async def one(card: dict[str, Any]) -> int:
        async with desks:
            drawn = await pool.draw(card, now() + _PATIENCE_SECONDS, now() + _PATIENCE_SECONDS)
            return len(await asyncio.to_thread(png.compress, drawn, 60.0))

    began = time.perf_counter()
    sizes = await asyncio.gather(*(one(card) for card in wanted))
    return time.perf_counter() - began, sizes


async def loop(wanted: list[dict[str, Any]]) -> tuple[float, list[int]]:
    """One after the other, nothing around it."""
    drawing = CardDrawing()
    drawing.draw(wanted[0])
    began = time.perf_counter()
    sizes = [len(png.compress(drawing.draw(card), 60.0)) for card in wanted]
    return time.perf_counter() - began, sizes


async def unpacked(wanted: list[dict[str, Any]]) -> tuple[float, list[int]]:
    """Drawn only: what takumi itself takes, every pixel kept."""
    drawing = CardDrawing()
    drawing.draw(wanted[0])
    began = time.perf_counter()
    sizes = [len(drawing.draw(card)) for card in wanted]
    return time.perf_counter() - began, sizes


def main() -> None:
    os.sched_setaffinity(0, {0})
    way = {"engine": engine, "loop": loop, "unpacked": unpacked}[sys.argv[1]]
    seconds, sizes = asyncio.run(way(orjson.loads(sys.stdin.buffer.read())))
    print(json.dumps({"seconds": seconds, "largest_bytes": max(sizes)}))


if __name__ == "__main__":
    main()
