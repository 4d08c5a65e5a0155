"""Tests that need real parts find them through the state folder of `./run up parts`."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
STATE = Path(os.environ.get("WISHLIST_STATE", ROOT / ".state"))

if (STATE / "env.json").exists():
    os.environ.update(json.loads((STATE / "env.json").read_text()))

# Tests assert behaviour, not time: the first text drawn on a fresh machine builds Unicode tables for over a second.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_LAST_LINES = 12
_LONGEST_LINE = 300


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows how the processes it started are, and what each said last."""
    report = yield
    if report.failed and report.when == "call":
        arguments = getattr(item, "funcargs", {})
        workers = getattr(arguments.get("lab"), "workers", ())
        report.sections += [(f"worker {at}", f"exit code {one.poll()}") for at, one in enumerate(workers)]
        if "tmp_path" in arguments:
            report.sections += [(log.name, _last_lines(log)) for log in sorted(arguments["tmp_path"].glob("*.log"))]
    return report


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line[:_LONGEST_LINE] for line in lines[-_LAST_LINES:])
