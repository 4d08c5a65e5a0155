"""``./run test``: quick checks first, then the suites that need real parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from ops.stack import manager
from ops.stack.parts import ROOT
from ops.stack.state import State

console = Console(stderr=True)
LONG = {
    "FAULT_EVENTS": "100000",
    "FAULT_NUMBERS": "1000000",
    "FAULT_KILLS": "20",
    "FAULT_JOINS": "5",
    "FAULT_HOUSE_EVENTS": "10000",
    "FAULT_BROKER_KILLS": "5",
    "FAULT_BROKERS_AWAY_SECONDS": "60",
    "FAULT_TERMINATIONS": "100",
    "FAULT_OUTAGE_SECONDS": "60",
    "FAULT_EXPIRED": "100000",
    "FAULT_CARDS": "500",
    "FAULT_OUTAGE_KINDS": "2",
    "CLIENT_GENERATORS": "1",
    "FAULT_BROWSER_KILLS": "20",
    "FAULT_RENDERER_KILLS": "5",
    "FAULT_BUCKET_OUTAGE_SECONDS": "60",
    "FAULT_BAD_ROWS_AMONG": "1000",
    "FAULT_MODEL_EXAMPLES": "200",
    "FAULT_MODEL_STEPS": "80",
}
CHECKS = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"])
# Most of a test is waiting: two at once take little more than half the time. Each file stays in one process. What is
# picked by words is few: it begins sooner in one. In their own order, since the longest files have the fewest tests,
# and would come last.
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
NO_TESTS = 5  # pytest's exit code where nothing was selected


def run(state: State, words: list[str]) -> int:
    """Run every check and suite, whatever failed before; returns the first failure's exit code.

    Words after ``full`` and ``faults`` are pytest's alone. A path among them replaces checks and suites.
    """
    failures: dict[str, int] = {}
    if words[:1] in (["full"], ["faults"]):
        os.environ.update(LONG)
    if words[:1] == ["full"]:
        words = words[1:]
    if words[:1] == ["faults"]:
        words = ["tests/faults", *words[1:]]
    paths = [word for word in words if word.startswith("tests")]
    if paths:
        suites = [] if all(path.startswith("tests/unit") for path in paths) else [[*words]]
        quick = [] if suites else [[*words]]
    else:
        for check in CHECKS:
            _note(failures, " ".join(check), _inside(check))
        together = [] if words else SIDE_BY_SIDE
        quick = [[*together, "tests/unit", *words]]
        suites = [[*together, *_suites(), *words]]
    ran = [_pytest(failures, arguments) for arguments in quick]
    # Starting everything takes seconds that a run without such tests need not spend.
    if suites and (not words or _selects_any(suites[0])):
        ran.append(_with_stack(state, failures, suites[0]))
    if not failures and not any(ran):
        console.print("[red]no test was selected[/]")
        return NO_TESTS
    for name, code in failures.items():
        console.print(f"[red]failed:[/] {name} (exit code {code})")
    return next(iter(failures.values()), 0)


def _suites() -> list[str]:
    folders = sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "unit")
    return [f"tests/{path.name}" for path in folders if list(path.rglob("test_*.py"))]


def _selects_any(arguments: list[str]) -> bool:
    """Whether pytest finds a test; errors while it looks count too, the real run shows them."""
    look = [str(Path(sys.executable).parent / "pytest"), "--collect-only", "-q", *arguments]
    return subprocess.run(look, cwd=ROOT, check=False, capture_output=True).returncode != NO_TESTS


def _with_stack(state: State, failures: dict[str, int], arguments: list[str]) -> bool:
    """Run pytest against the stack of this state folder; what was started for it is stopped again."""
    signal.signal(signal.SIGTERM, _leave)
    # Two tests at a time leave nothing of a small machine, and wait for what the background does.
    os.environ["STACK_BACKGROUND"] = "no"
    ran_before = set(state.processes())
    try:
        manager.up(state)
        return _pytest(failures, arguments)
    except manager.StartFailed as failure:
        console.print(str(failure), markup=False)
        _note(failures, "./run up", 1)
        return False
    finally:
        manager.down(state, but=ran_before)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _pytest(failures: dict[str, int], arguments: list[str]) -> bool:
    """Whether a test ran."""
    code = _inside(["pytest", *arguments])
    if code != NO_TESTS:
        _note(failures, f"pytest {' '.join(arguments)}", code)
    return code != NO_TESTS


def _note(failures: dict[str, int], name: str, code: int) -> None:
    if code:
        failures[name] = code


def _inside(command: list[str]) -> int:
    console.print(f"[dim]{' '.join(command)}[/]")
    program = Path(sys.executable).parent / command[0]
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, check=False).returncode
