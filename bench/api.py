"""``./run bench api``: the API under open-loop load, with everything running.

1. The spec's scenarios (its "Performance Benchmarks") all at once, at its own rates and at ten times these.
2. Each alone: the highest rate that holds p99 under 100 ms without an error, and the same for a bare handler that does
   only the unavoidable round trips (``bench/api_rivals/bare.py``).

Users, lists and shares of the bench stay in the database of this stack, named ``bench…``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench import api_world
from bench.api_world import World
from bench.open_loop import Figures, Load, run
from bench.side_by_side import spread

ROOT = Path(__file__).parent.parent
# The spec's test took half an hour.
SPEC_SECONDS = 30 * 60
LIMIT_SECONDS = 0.1
REST_SECONDS = 1.0
# Each scenario's rate before anything counts: Kafka's JVM compiles what it runs for a good while, on the same cores.
WARM_UP_RATE = 60.0
console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Scenario:
    """One scenario of the spec, with the spec's figures: latencies in ms, success in %."""

    title: str
    requests: int
    spec: tuple[float, float, float, float] | None
    made: Callable[[World], Iterator[bytes]]
    server: str = "api"

    @property
    def rate(self) -> float:
        """The spec's own rate, requests/s."""
        return self.requests / SPEC_SECONDS


SCENARIOS = {
    "create": Scenario("create a share", 12_450, (487, 812, 1_442, 99.8), World.creates),
    "view": Scenario("shared page", 45_200, (32, 78, 145, 100), World.pages),
    "add": Scenario("add to my list", 8_900, (28, 55, 112, 100), World.adds),
    "render": Scenario("render a card", 5_000, (512, 1_834, 4_210, 98.2), World.renders, "renderer"),
}
# The look-up as JSON is in no table of the spec: it is measured alone only.
ALONE = {
    **{name: SCENARIOS[name] for name in ("create", "view", "add")},
    "look_up": Scenario("look-up, JSON", 0, None, World.look_ups),
}


async def together(
    requests: dict[str, Iterator[bytes]], servers: dict[str, str], factor: int, seconds: float
) -> dict[str, Figures]:
    """All of the spec's scenarios at once at *factor* times its rates."""
    loads = [
        Load(name, servers[scenario.server], factor * scenario.rate, requests[name])
        for name, scenario in SCENARIOS.items()
    ]
    return await run(loads, seconds)


async def highest(address: str, requests: Iterator[bytes], seconds: float, start: float) -> float:
    """The highest rate that holds the limit: steps of a third until one fails, then the gap is halved three times."""
    held, rate, failed = 0.0, start, math.inf
    for _ in range(16):
        if not math.isinf(failed) and failed - held < 0.05 * failed:
            break
        # Twice before it counts as failed: one stall of the machine says nothing about the server.
        for _ in range(2):
            figures = (await run([Load("alone", address, rate, requests)], seconds))["alone"]
            holds = figures.success == 1.0 and figures.percentile(0.99) < LIMIT_SECONDS
            p99 = 1_000 * figures.percentile(0.99)
            console.print(
                f"[dim]  {rate:7.0f}/s  p99 {p99:8.1f} ms  {100 * figures.success:5.1f} %  {'✓' if holds else '✗'}[/]"
            )
            if holds:
                break
            await asyncio.sleep(REST_SECONDS)
        if holds:
            held = rate
            rate = rate * 4 / 3 if math.isinf(failed) else (rate + failed) / 2
        else:
            failed = rate
            rate = (held + failed) / 2 if held else rate / 2
        await asyncio.sleep(REST_SECONDS)
    return held


@contextlib.contextmanager
def bare_server() -> Iterator[str]:
    """The bare handler on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.api_rivals.bare", str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/healthz", timeout=1):
                    break
                time.sleep(0.1)
            else:
                log.seek(0)
                raise RuntimeError(f"the bare server did not start:\n{log.read()[-2000:].decode()}")
            yield address
        finally:
            process.terminate()
            process.wait()


def addresses() -> dict[str, str]:
    """Starts what does not run yet; where the API and the renderer are."""
    subprocess.run([str(ROOT / "run"), "up"], cwd=ROOT, check=True)
    return {
        "api": f"http://127.0.0.1:{os.environ['API_PORT']}",
        "renderer": os.environ["RENDERER_URL"],
    }


def in_ms(figures: Figures) -> dict[str, Any]:
    """The figures of the spec's table."""
    return {
        "requests_per_second": round(figures.rate, 1),
        "requests": figures.sent,
        **{f"p{part}_ms": round(1_000 * figures.percentile(part / 100), 1) for part in (50, 90, 99)},
        "success_percent": round(100 * figures.success, 2),
        "statuses": {str(status): count for status, count in sorted(figures.statuses.items())},
    }


async def measure(arguments: argparse.Namespace) -> dict[str, object]:
    servers = addresses()
    console.print("making users, lists, tokens and shares …")
    world = await api_world.make(os.environ["POSTGRES_DSN"], servers["api"])
    made = {name: scenario.made(world) for name, scenario in {**SCENARIOS, **ALONE}.items()}
    console.print(f"warming up for {arguments.warm_up_seconds:.0f} s …")
    await run(
        [Load(name, servers["api"], WARM_UP_RATE, made[name]) for name in ALONE], max(arguments.warm_up_seconds, 1)
    )
    result: dict[str, object] = {"seconds": arguments.seconds}

    table = Table("scenario", "rate", "p50", "p90", "p99", "success", title="all at once; latencies in ms")
    for scenario in SCENARIOS.values():
        if scenario.spec:
            *latencies, success = scenario.spec
            figures = (f"{value:,.0f}" for value in latencies)
            table.add_row(scenario.title, f"spec {scenario.rate:.1f}/s", *figures, f"{success:.1f} %")
    for factor in arguments.factors:
        table.add_section()
        for name, got in (await together(made, servers, factor, arguments.seconds)).items():
            row = in_ms(got)
            result[f"{name}_x{factor}"] = row
            shown = [f"{row[f'p{part}_ms']:,.1f}" for part in (50, 90, 99)]
            table.add_row(SCENARIOS[name].title, f"{got.rate:.1f}/s", *shown, f"{row['success_percent']:.1f} %")
        await asyncio.sleep(REST_SECONDS)
    Console(stderr=True).print(table)

    if arguments.alone:
        table = Table(
            "alone", "API", "bare handler", "ratio", title="highest rate with p99 under 100 ms and no error, /s"
        )
        with bare_server() as bare:
            for name in arguments.alone:
                ours: list[float] = []
                theirs: list[float] = []
                both = [(ours, servers["api"]), (theirs, bare)]
                for number in range(arguments.pairs):
                    console.print(f"{ALONE[name].title}, pair {number + 1} of {arguments.pairs}")
                    # Who comes second finds more that waits for the agents: they take turns at it.
                    for rates, address in both if number % 2 == 0 else reversed(both):
                        rates.append(await highest(address, made[name], arguments.step_seconds, arguments.start))
                ratios = [mine / other if other else math.nan for mine, other in zip(ours, theirs, strict=True)]
                table.add_row(ALONE[name].title, *map(spread, (ours, theirs)), spread(ratios, 2))
                result[f"{name}_alone"] = {
                    "requests_per_second": round(statistics.median(ours)),
                    "bare_requests_per_second": round(statistics.median(theirs)),
                    "ratio": round(statistics.median(ratios), 3),
                    "ratios": [round(ratio, 3) for ratio in ratios],
                }
        Console(stderr=True).print(table)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each run of all scenarios at once")
    parser.add_argument("--step-seconds", type=float, default=6, help="length of each step towards the highest rate")
    parser.add_argument("--warm-up-seconds", type=float, default=90, help="load before anything counts")
    parser.add_argument("--factors", type=int, nargs="*", default=[1, 10], help="multiples of the spec's rates")
    parser.add_argument(
        "--alone", nargs="*", default=list(ALONE), choices=list(ALONE), help="scenarios for the highest rate"
    )
    parser.add_argument("--pairs", type=int, default=3, help="how often each is tried beside the bare handler")
    parser.add_argument("--start", type=float, default=100, help="first rate tried, requests/s")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    result = uvloop.run(measure(arguments))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
