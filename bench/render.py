"""``./run bench render``: the renderer's drawing beside other ways to draw the same cards, in alternating runs.

Drawing only: no HTTP, no bucket. Ours makes a palette PNG under 300 KB of every screenshot; the rivals keep the
browser's, which is larger. Rates are cards/s once the browsers run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench.render_cards import as_files, cards, photographs
from bench.render_rivals import naive
from bench.side_by_side import spread
from cards import png
from cards.template import load_template
from config.settings import RendererSettings, load
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import Wear
from renderer_worker.memory import resident_bytes

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".state" / "cache"
PUPPETEER = "puppeteer-core@24.31.0"
PATIENCE_SECONDS = 600.0
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Way:
    """One way to draw: what it is, how many of the cards it gets, and its run: seconds for these cards."""

    title: str
    cards: int
    run: Callable[[list[dict[str, Any]], list[Path]], Awaitable[float]]


class Ours:
    """The service's pool and PNG, without its HTTP and bucket."""

    def __init__(self, executable: str, settings: RendererSettings) -> None:
        self._executable = executable
        self._settings = settings
        self.memory_bytes = 0
        self.largest_bytes = 0

    async def run(self, wanted: list[dict[str, Any]], _: list[Path]) -> float:
        """Seconds to draw and compress *wanted*, all of them asked for at once."""
        settings = self._settings
        wear = Wear(cards=settings.browser_cards, memory_bytes=settings.browser_memory_mb * 1_000_000)
        pool = BrowserPool(
            self._executable, settings.browsers, settings.pages_per_browser, PATIENCE_SECONDS, load_template(), wear
        )
        await pool.start()
        await pool.warmed()
        desks = asyncio.Semaphore(2 * pool.total)
        now = asyncio.get_running_loop().time

        async def one(card: dict[str, Any]) -> int:
            async with desks:
                screenshot = await pool.draw(card, now() + PATIENCE_SECONDS, now() + PATIENCE_SECONDS)
                return len(await asyncio.to_thread(png.compress, screenshot, 60.0))

        began = time.perf_counter()
        sizes = await asyncio.gather(*(one(card) for card in wanted))
        took = time.perf_counter() - began
        self.largest_bytes = max(self.largest_bytes, *sizes)
        self.memory_bytes = max(self.memory_bytes, resident_bytes())
        await pool.close()
        return took


def puppeteer_folder() -> Path:
    """Where puppeteer-core is, fetched once."""
    folder = CACHE / "puppeteer"
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), PUPPETEER], check=True)
    shutil.copy(ROOT / "bench" / "render_rivals" / "puppeteer.mjs", folder)
    return folder


def puppeteer(executable: str, at_once: int) -> Callable[[list[dict[str, Any]], list[Path]], Awaitable[float]]:
    """The rival in Node."""

    async def run(_: list[dict[str, Any]], files: list[Path]) -> float:
        words = ["node", str(puppeteer_folder() / "puppeteer.mjs"), executable, str(at_once), *map(str, files)]
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        said = (await process.communicate())[0]
        if process.returncode:
            raise RuntimeError(f"puppeteer ended with {process.returncode}")
        return float(json.loads(said)["seconds"])

    return run


def naively(executable: str, at_once: int) -> Callable[[list[dict[str, Any]], list[Path]], Awaitable[float]]:
    """The rival in Python."""

    async def run(_: list[dict[str, Any]], files: list[Path]) -> float:
        return await naive.seconds_for(executable, files, at_once)

    return run


def on_one_core(way: str) -> Callable[[list[dict[str, Any]], list[Path]], Awaitable[float]]:
    """takumi without a browser, in a process of its own that has one core."""

    async def run(wanted: list[dict[str, Any]], _: list[Path]) -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.render_rivals.one_core",
            way,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        said = (await process.communicate(json.dumps(wanted).encode()))[0]
        if process.returncode:
            raise RuntimeError(f"takumi ended with {process.returncode}")
        return float(json.loads(said)["seconds"])

    return run


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = load(RendererSettings)
    executable = "/usr/bin/chromium" if not arguments.chromium else arguments.chromium
    ours = Ours(executable, settings)
    ways = {
        "ours": Way(f"(a) ours, {settings.browsers} browsers × {settings.pages_per_browser} pages", 1, ours.run),
        "naive": Way("(b) new page, DOMContentLoaded + 500 ms, one at a time", 10, naively(executable, 1)),
        "naive_6": Way("    the same, six at once", 4, naively(executable, 6)),
        "puppeteer": Way("(c) puppeteer-core as in the spec, one at a time", 10, puppeteer(executable, 1)),
        "puppeteer_6": Way("    the same, 3 browsers × 2 pages", 4, puppeteer(executable, 6)),
        "browserless": Way("(a) ours, engine without a browser, one core", 3, on_one_core("engine")),
        "takumi": Way("(d) takumi alone, the same PNG, one core", 3, on_one_core("loop")),
        "takumi_unpacked": Way("    the same, drawn only", 3, on_one_core("unpacked")),
    }
    if shutil.which("npm") is None:
        console.print("[yellow]npm is missing: puppeteer-core is left out[/]")
        ways = {name: way for name, way in ways.items() if not name.startswith("puppeteer")}
    pictures = photographs(CACHE)
    wanted = cards(arguments.cards, pictures)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        files = as_files(wanted, Path(folder))
        for run in range(arguments.runs):
            for name, way in ways.items():
                part = max(len(wanted) // way.cards, 6)
                rate = part / await way.run(wanted[:part], files[:part])
                rates[name].append(rate)
                console.print(f"[dim]run {run + 1}: {way.title.strip()}: {rate:.1f} cards/s[/]")
    table = Table("way", "cards/s (median)", "min to max", "ours / this, pair by pair", title=f"{len(wanted)} cards")
    result: dict[str, Any] = {"cards": len(wanted), "runs": arguments.runs, "cores": psutil.cpu_count()}
    for name, way in ways.items():
        figures = rates[name]
        ratios = [a / b for a, b in zip(rates["ours"], figures, strict=True)]
        least_to_most = f"{min(figures):.1f} to {max(figures):.1f}"
        table.add_row(way.title, f"{statistics.median(figures):.1f}", least_to_most, spread(ratios, 1))
        result[name] = {"cards_per_second": statistics.median(figures), "ours_over_this": statistics.median(ratios)}
    result |= {"memory_mb": ours.memory_bytes / 1e6, "largest_kb": ours.largest_bytes / 1e3}
    engines = [a / b for a, b in zip(rates["browserless"], rates["takumi"], strict=True)]
    result["engine_over_takumi"] = statistics.median(engines)
    Console(stderr=True, width=max(120, console.width)).print(table)
    console.print(f"engine without a browser / takumi alone: {spread(engines, 2)}")
    console.print(
        f"ours: {result['memory_mb']:.0f} MB with the pool full, the largest card {result['largest_kb']:.0f} KB"
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=240, help="cards that ours draws; slower ways get a part of them")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chromium", default=os.environ.get("BENCH_CHROMIUM"), help="the browser, by default Debian's")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    result = uvloop.run(measure(arguments))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
