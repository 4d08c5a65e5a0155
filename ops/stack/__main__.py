"""What ``./run`` calls once everything is installed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from ops.stack import manager, suite
from ops.stack.parts import ROOT
from ops.stack.state import State


def main() -> int:
    """Do one command of ``./run``; returns its exit code."""
    command, *words = sys.argv[1:]
    state = State.here()
    if command in {"wishlist", "demo", "bench"}:
        return _inside(state, command, words)
    if command == "up":
        parts_only = words == ["parts"]
        manager.up(state, parts_only=parts_only, supervised=not parts_only and "--unsupervised" not in words)
    elif command == "down":
        return _down(state, words)
    elif command == "logs":
        return _logs(state, words)
    elif command == "status":
        report = manager.status(state)
        if "--json" in words:
            print(json.dumps(report, indent=2))
        else:
            _print_status(report)
        return 0 if all(entry["healthy"] for entry in report.values()) else 1
    elif command == "test":
        return suite.run(state, words)
    return 0


def _inside(state: State, command: str, words: list[str]) -> int:
    if command == "demo":
        manager.up(state, supervised=True)
    elif command == "bench":
        manager.up(state, parts_only=True)
    os.environ.update(state.environment())
    if command == "bench":
        if not words or not (ROOT / "bench" / f"{words[0]}.py").exists():
            names = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if path.stem != "__init__")
            print(f"usage: ./run bench NAME, where NAME is one of {', '.join(names)}", file=sys.stderr)
            return 2
        return subprocess.run([sys.executable, "-m", f"bench.{words[0]}", *words[1:]], cwd=ROOT, check=False).returncode
    module = {"wishlist": "ops.cli", "demo": "ops.demo"}[command]
    sys.argv = [command, *words]
    runpy.run_module(module, run_name="__main__")
    return 0


def _down(state: State, words: list[str]) -> int:
    names = sorted(state.wanted())
    if unknown := sorted(set(words) - set(names)):
        print(f"{', '.join(unknown)}: not started from here. usage: ./run down [NAME …]", file=sys.stderr)
        print(f"where each NAME is one of {', '.join(names) or 'nothing: nothing runs'}", file=sys.stderr)
        return 2
    manager.down(state, only=words)
    return 0


def _logs(state: State, words: list[str]) -> int:
    names = sorted(path.stem for path in (state.folder / "logs").glob("*.log"))
    if not words or words[0] not in names:
        print(f"usage: ./run logs NAME [-f], where NAME is one of {', '.join(names)}", file=sys.stderr)
        return 2
    return subprocess.run(["tail", "-n", "200", *words[1:], str(state.log(words[0]))], check=False).returncode


def _print_status(report: dict[str, dict[str, object]]) -> None:
    table = Table("part", "address", "pid", "", "")
    for name, entry in report.items():
        health = (
            "[green]healthy[/]"
            if entry["healthy"]
            else "[red]not healthy[/]"
            if entry["pid"]
            else "[dim]not running[/]"
        )
        restarts = entry["restarts"] and f"restarted {entry['restarts']}×"
        done = f"[red]given up, ./run logs supervisor[/] {restarts}" if entry["given_up"] else restarts or ""
        table.add_row(name, str(entry["address"]), str(entry["pid"] or ""), health, str(done))
    Console().print(table)


try:
    sys.exit(main())
except manager.StartFailed as failure:
    print(failure, file=sys.stderr)
    sys.exit(1)
