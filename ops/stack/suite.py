"""``./run test``: quick checks first, then the suites that need real parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from ops.stack import manager
from ops.stack.parts import ROOT
from ops.stack.state import State

console = Console(stderr=True)
LONG = {"FAULT_EVENTS": "100000", "FAULT_KILLS": "20"}


def run(state: State, words: list[str]) -> int:
    """Run everything, or with further words only what pytest makes of them; returns the exit code."""
    selected = ["tests"]
    if words[:1] == ["faults"]:
        os.environ.update(LONG)
        selected, words = ["tests/faults"], words[1:]
    elif words[:1] == ["full"]:
        os.environ.update(LONG)
        words = words[1:]
    if any(word.startswith("tests/") for word in words):
        selected = []
    elif not words and selected == ["tests"]:
        for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]):
            console.print(f"[dim]{' '.join(check)}[/]")
            if code := _inside(check):
                return code
        if code := _pytest(["tests/unit"]):
            return code
        selected = sorted(
            f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "unit"
        )
        selected = [path for path in selected if list((ROOT / path).rglob("test_*.py"))]
    already_up = {name for name, entry in manager.status(state).items() if entry["healthy"]}
    manager.up(state)
    os.environ.update(json.loads((state.folder / "env.json").read_text()))
    try:
        return _pytest([*selected, *words])
    finally:
        if not already_up:
            manager.down(state)


def _pytest(words: list[str]) -> int:
    return _inside(["pytest", *words])


def _inside(command: list[str]) -> int:
    program = Path(sys.executable).parent / command[0]
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, check=False).returncode
