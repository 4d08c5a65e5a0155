"""``./run up``'s supervisor: starts parts again that have died, or that say of themselves that they are stuck.

It looks after what was started by ``./run up`` and not stopped by ``./run down``, and stops with it. A part that does
not stay up is given up after some restarts, which ``./run status`` shows; the next ``./run up`` begins anew.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from ops.stack import manager
from ops.stack.parts import Part, processes, services
from ops.stack.state import State


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How patient it is."""

    look_seconds: float = 5.0
    stuck_looks: int = 3
    """Looks in a row at which a part must call itself stuck."""
    first_pause_seconds: float = 2.0
    """Doubled from one restart to the next."""
    most_restarts: int = 5
    within_seconds: float = 900.0


@dataclass
class History:
    """What was done about one part."""

    restarts: list[float] = field(default_factory=list)
    stuck_looks: int = 0
    not_before: float = 0.0
    gave_up_on: int | None = None
    """The process id that it had when it was given up, 0 where it had died."""


class Supervisor:
    """Looks at *parts* as often as it is told."""

    def __init__(
        self,
        state: State,
        parts: Callable[[], Sequence[Part]],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._parts = parts
        self._limits = limits or Limits()
        self._clock = clock
        self._histories: dict[str, History] = {}
        self._tell()

    def run(self) -> None:
        """Look until the process is ended."""
        while True:
            try:
                self.look()
            except (OSError, psutil.Error) as error:
                self._say(f"a look failed: {type(error).__name__}: {error}")
            time.sleep(self._limits.look_seconds)

    def look(self) -> None:
        """Start again what must be."""
        wanted, running = self._state.wanted(), self._state.processes()
        for part in self._parts():
            if part.name not in wanted:
                continue
            history = self._histories.setdefault(part.name, History())
            process = running.get(part.name)
            if history.gave_up_on is not None:
                if process is None or process.pid == history.gave_up_on:
                    continue
                self._histories[part.name] = history = History()  # somebody has started it
                self._tell()
            trouble = self._trouble(part, process, history)
            if trouble is not None and self._clock() >= history.not_before:
                self._intervene(part, process, trouble, history)

    def _trouble(self, part: Part, process: psutil.Process | None, history: History) -> str | None:
        if process is None:
            return "has died"
        reason = part.stuck()
        history.stuck_looks = 0 if reason is None else history.stuck_looks + 1
        return f"is stuck: {reason}" if history.stuck_looks >= self._limits.stuck_looks else None

    def _intervene(self, part: Part, process: psutil.Process | None, trouble: str, history: History) -> None:
        now = self._clock()
        recent = [at for at in history.restarts if at > now - self._limits.within_seconds]
        if len(recent) >= self._limits.most_restarts:
            history.gave_up_on = process.pid if process else 0
            self._say(
                f"{part.name} {trouble}. GIVEN UP after {len(recent)} restarts in {self._limits.within_seconds} s"
            )
            self._tell()
            return
        with self._state.changing():
            # Somebody may have stopped or started it since.
            if part.name not in self._state.wanted() or self._state.processes().get(part.name) != process:
                return
            self._say(f"{part.name} {trouble}; started again")
            if process is not None:
                manager.stop({part.name: process})
            os.environ.update(self._state.environment())
            try:
                manager.launch(self._state, [part])
            except (OSError, subprocess.SubprocessError) as error:
                self._say(f"{part.name} could not be started: {error}")
        history.stuck_looks = 0
        history.restarts.append(now)
        history.not_before = now + self._limits.first_pause_seconds * 2 ** len(recent)
        self._tell()

    def _tell(self) -> None:
        self._state.write(
            "supervisor.json",
            {
                name: {"restarts": len(history.restarts), "given_up": history.gave_up_on is not None}
                for name, history in self._histories.items()
                if history.restarts or history.gave_up_on is not None
            },
        )

    def _say(self, what: str) -> None:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {what}", flush=True)


def main() -> None:
    """Supervise the stack of this state folder."""
    state = State.here()
    Supervisor(state, lambda: [*services(state), *processes(state)]).run()


if __name__ == "__main__":
    main()
