"""What benches with rivals share: programs timed by what they write, and rates beside each other."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".state" / "cache"
# Rivals of which each is a program: python -m …
RIVALS = "bench.persist_rivals"
# What Quix Streams' own environment needs besides: the decoder, the SQL and BigQuery's client that all ways share.
_QUIX = (
    "quixstreams==3.28.1", "asyncpg", "fastavro", "msgspec", "uuid-utils", "pydantic-settings", "structlog",
    "prometheus-client", "google-cloud-bigquery", "google-cloud-bigquery-storage",
)  # fmt: skip


async def rate_of(
    command: Sequence[str],
    env: Mapping[str, str],
    count: Callable[[], Awaitable[int]],
    wanted: int,
    *,
    look_seconds: float = 0.1,
    within: float = 180,
) -> float:
    """Rows/s of *command*: from the first row that *count* sees to the *wanted*-th.

    Starting a process is thus held against nobody. Asking costs time too: every *look_seconds*. Raises
    :class:`RuntimeError` with what the command said where it ends before that, or does not get there *within* seconds.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # starting it is quick, and nothing else runs here
            command, cwd=ROOT, env={**env, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
        try:
            first: tuple[float, int] | None = None
            deadline = time.monotonic() + within
            while time.monotonic() < deadline:
                has_ended = process.poll() is not None
                seen, now = await count(), time.perf_counter()
                if first is None and seen:
                    first = (now, seen)
                if first is not None and seen >= wanted and seen > first[1]:
                    return (seen - first[1]) / (now - first[0])
                if has_ended:
                    break
                await asyncio.sleep(look_seconds)
            log.seek(0)
            said = log.read()[-3_000:].decode(errors="replace")
            raise RuntimeError(f"{command} did not write {wanted:,} rows:\n{said}")
        finally:
            process.kill()
            process.wait()


def quix_python() -> str:
    """The interpreter of an environment with Quix Streams, made once: its pins are not ours."""
    folder = CACHE / "quix"
    python, made = folder / "bin" / "python", folder / "made-of"
    if not made.exists() or made.read_text() != " ".join(_QUIX):
        uv = str(CACHE / "uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *_QUIX], check=True)
        made.write_text(" ".join(_QUIX))
    return str(python)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and from where to where."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def show(
    title: str, titles: Mapping[str, str], rates: Mapping[str, Sequence[float]], ours: str, *, inverse: bool = False
) -> dict[str, Any]:
    """Print each way's rates and, pair by pair, what *ours* is of them; the same as figures. *inverse*: they of it."""
    ratio = f"this / {titles[ours]}" if inverse else "ours / this"
    table = Table("way", "rows/s (median)", "min to max", f"{ratio}, pair by pair", title=title)
    result = {}
    for name, figures in rates.items():
        pairs = zip(rates.get(ours, figures), figures, strict=True)
        ratios = [b / a if inverse else a / b for a, b in pairs]
        table.add_row(
            titles[name],
            f"{statistics.median(figures):,.0f}",
            f"{min(figures):,.0f} to {max(figures):,.0f}",
            spread(ratios, 2),
        )
        result[name] = {"rows_per_second": statistics.median(figures), "ratio": statistics.median(ratios)}
    Console().print(table)
    return result
