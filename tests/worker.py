"""Workers' processes, forked from one that has loaded their modules, as ``./run up`` forks them: half of a test of
faults would be loading otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from ops.stack.nursery import Seedling, become, loadable

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, *loadable()])


class Worker:
    """One process, with the words of :class:`subprocess.Popen`."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        seedling = Seedling(list(words), dict(env), str(log), nice=0)
        self._process: ForkServerProcess = _FORKS.Process(target=_live, args=(seedling,))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As :attr:`returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; raises :class:`subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


Process = Worker | subprocess.Popen[bytes]


def _live(seedling: Seedling) -> None:
    # Nothing of the environment in which the first test ran.
    os.environ.clear()
    become(seedling)
