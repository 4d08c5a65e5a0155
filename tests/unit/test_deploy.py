"""The renderer's unit file: limits that its own settings can live within."""

from __future__ import annotations

import configparser
import importlib.util
from pathlib import Path

from config.settings import RendererSettings

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "svc-og-renderer.service"
# What the service takes besides its browsers, and what a browser may be above its mark before it is looked at.
WORKER_MB, OVER_MARK = 250, 1.2


def test_the_limits_hold_a_full_pool_at_its_mark() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    settings = RendererSettings()
    full = settings.browsers * settings.browser_memory_mb * OVER_MARK + WORKER_MB
    assert full <= megabytes(service["MemoryHigh"]) < megabytes(service["MemoryMax"])
    module = service["ExecStart"].split(" -m ")[1]
    assert importlib.util.find_spec(f"{module}.__main__")


def megabytes(value: str) -> float:
    assert value.endswith("M")
    return float(value[:-1])
