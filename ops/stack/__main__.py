"""What ``./run`` calls once everything is installed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping

from rich.console import Console

from ops.stack import manager, suite
from ops.stack.parts import ROOT
from ops.stack.state import State

_COLOURS = {"healthy": "[green]", "not healthy": "[red]", "not running": "[dim]"}


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
            for line in status_lines(report):
                Console(soft_wrap=True, highlight=False).print(line)
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


def status_lines(report: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """A line for each part, its address whole whatever the terminal's width, and then what there is to say of some."""
    names = max(map(len, report), default=0)
    addresses = max((len(str(entry["address"])) for entry in report.values()), default=0)
    for name, entry in report.items():
        pid = str(entry["pid"] or "")
        health = "healthy" if entry["healthy"] else "not healthy" if entry["pid"] else "not running"
        yield f"{name:<{names}}  {entry['address']!s:<{addresses}}  {pid:>7}  {_COLOURS[health]}{health}[/]"
    for name, entry in report.items():
        if entry["given_up"]:
            yield f"[red]{name} is given up[/] after {entry['restarts']} restarts: ./run logs supervisor"
        elif entry["restarts"]:
            yield f"{name} was restarted {entry['restarts']}×"


try:
    sys.exit(main())
except manager.StartFailed as failure:
    print(failure, file=sys.stderr)
    sys.exit(1)
