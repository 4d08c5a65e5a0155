"""Tests that need real parts find them through the state folder of `./run up parts`."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from clients import cpu

ROOT = Path(__file__).parent.parent
STATE = Path(os.environ.get("WISHLIST_STATE", ROOT / ".state"))

if (STATE / "env.json").exists():
    os.environ.update(json.loads((STATE / "env.json").read_text()))

# Tests assert behaviour, not time: the first text drawn on a fresh machine builds Unicode tables for over a second.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_LAST_LINES = 12
_LONGEST_LINE = 300
# Two tests at a time keep two processors busy themselves; beyond this others take part.
_STARVED_WAITING, _STARVED_STOLEN = 0.9, 0.1
_CPU_BEFORE = pytest.StashKey[cpu.CpuReading]()


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


def pytest_configure(config: pytest.Config) -> None:
    """Remember how busy the machine was until now."""
    config.stash[_CPU_BEFORE] = cpu.read()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say whether the machine was starved: then a limit that was passed may say nothing of the product."""
    before, after = config.stash[_CPU_BEFORE], cpu.read()
    terminalreporter.write_line(cpu_summary(before, after))


def cpu_summary(before: cpu.CpuReading, after: cpu.CpuReading) -> str:
    """One line on the time between two readings."""
    waiting, stolen = cpu.waiting_between(before, after), cpu.stolen_between(before, after)
    starved = waiting > _STARVED_WAITING or stolen > _STARVED_STOLEN
    return (
        f"machine {'STARVED' if starved else 'not starved'}: some task waited for a processor {waiting:.0%} of the "
        f"time, {stolen:.0%} stolen by the host, load {after.load:.1f} on {after.processors} processors"
    )


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line[:_LONGEST_LINE] for line in lines[-_LAST_LINES:])
