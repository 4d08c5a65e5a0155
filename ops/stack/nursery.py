"""Starts several of our processes from one interpreter that has loaded what they need: loading is most of a start.

``python -m ops.stack.nursery`` loads, reads from stdin what to start, forks once for each, answers with their process
ids, and ends. Nothing of the stack is read before: settings come with each process's environment.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from setproctitle import setproctitle

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("clients", "sinks", "streams", "api")
LOWEST = 19


@dataclass(frozen=True)
class Seedling:
    """One process: its module and arguments, its environment, its log file, and how nice it is (0 to 19, or idle)."""

    words: list[str]
    env: dict[str, str]
    log: str
    nice: int | Literal["idle"]


class Nursery:
    """The other end. It loads from the moment it is made, so make it while there is something to wait for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops.stack.nursery"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(self, seedlings: Sequence[Seedling]) -> list[int]:
        """Start *seedlings*, once: their process ids. Raises :class:`RuntimeError` where the nursery has failed."""
        answer, _ = self._process.communicate(json.dumps([asdict(one) for one in seedlings]).encode())
        if self._process.returncode:
            raise RuntimeError("our processes could not be loaded: see above")
        pids: list[int] = json.loads(answer)
        return pids


def main() -> None:
    """Load, fork, answer."""
    for name in loadable():
        importlib.import_module(name)
    # What is shared stays shared only as long as nobody counts its references anew.
    gc.collect()
    gc.freeze()
    # Nothing, where what they stand on did not come up.
    asked = json.loads(sys.stdin.read() or "[]")
    pids = []
    for seedling in [Seedling(**one) for one in asked]:
        if (pid := os.fork()) == 0:
            become(seedling)
            return
        pids.append(pid)
    print(json.dumps(pids))


def loadable() -> list[str]:
    """Our modules but for those that make an app of their settings as they are loaded."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py")))
    return [
        f"{path.parent.name}.{path.stem}"
        for path in paths
        if not path.stem.startswith("__") and "\napp = " not in path.read_text()
    ]


def become(seedling: Seedling) -> None:
    """Be what *seedling* says, in a process that was forked for it."""
    os.setsid()
    _be_nice(seedling.nice)
    with Path(os.devnull).open("rb") as nothing, Path(seedling.log).open("ab") as log:
        for file, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), number)
    # First: it needs the environment where the system has put it.
    setproctitle(f"{sys.executable} -m {' '.join(seedling.words)}")
    os.environ.update(seedling.env)
    sys.argv = list(seedling.words)
    runpy.run_module(seedling.words[0], run_name="__main__", alter_sys=True)


def _be_nice(nice: int | Literal["idle"]) -> None:
    """As ``ops/stack/gently`` does it, but for the right to be less nice again, which no agent uses."""
    if not nice:
        return
    number = LOWEST if nice == "idle" else nice
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(number))
    if nice == "idle":
        with suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.nice(number)


if __name__ == "__main__":
    main()
