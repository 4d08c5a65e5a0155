"""The supervisor of ``./run up``: real processes that die, get stuck, are stopped on purpose, or never stay up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.stack import manager
from ops.stack.parts import Part
from ops.stack.state import State
from ops.stack.supervisor import Limits, Supervisor

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
LIMITS = Limits(stuck_looks=3, first_pause_seconds=2, most_restarts=3, within_seconds=900)


class Toys:
    """Two parts with a supervisor whose clock the test drives."""

    def __init__(self, folder: Path) -> None:
        (folder / "logs").mkdir()
        self.state = State(folder)
        self.reason: str | None = None
        self.now = 0.0
        self.parts = [
            Part("worker", SLEEPER, "", lambda: True, stuck=lambda: self.reason),
            Part("other", SLEEPER, "", lambda: True),
        ]
        manager.launch(self.state, self.parts)
        self.supervisor = Supervisor(self.state, lambda: self.parts, LIMITS, lambda: self.now)

    def pid(self, name: str = "worker") -> int | None:
        process = self.state.processes().get(name)
        return process.pid if process else None

    def kill(self, name: str = "worker", how: signal.Signals = signal.SIGKILL) -> None:
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, how)
        until(lambda: self.pid(name) is None)

    def look(self, times: int = 1, after: float = 0.0) -> None:
        self.now += after
        for _ in range(times):
            self.supervisor.look()


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    toys = Toys(tmp_path)
    yield toys
    manager.stop(toys.state.processes())


def test_what_is_well_is_left_alone(toys: Toys) -> None:
    before = toys.pid(), toys.pid("other")
    toys.look(10)
    assert (toys.pid(), toys.pid("other")) == before
    assert toys.state.interventions() == {}


def test_what_has_died_is_started_again_and_told(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    other = toys.pid("other")
    toys.kill()
    toys.look()
    assert toys.pid()
    assert toys.pid("other") == other
    assert toys.state.interventions() == {"worker": {"restarts": 1, "given_up": False}}
    assert "worker has died; started again" in capsys.readouterr().out


def test_two_that_die_together_both_come_back(toys: Toys) -> None:
    toys.kill()
    toys.kill("other")
    toys.look()
    assert toys.pid()
    assert toys.pid("other")


def test_what_calls_itself_stuck_for_some_looks_is_started_again(toys: Toys) -> None:
    before = toys.pid()
    toys.reason = "events[3]: 17 records wait"
    toys.look(2)
    toys.reason = None
    toys.look()
    toys.reason = "events[3]: 17 records wait"
    toys.look(2)
    assert toys.pid() == before, "looks in a row count, and one was good"
    toys.look()
    assert toys.pid() not in (None, before)


def test_what_was_stopped_on_purpose_stays_down(toys: Toys) -> None:
    process = toys.state.processes()["worker"]
    manager.stop({"worker": process})
    toys.state.forget({"worker"})
    toys.look(5)
    assert toys.pid() is None
    manager.launch(toys.state, toys.parts)
    assert toys.pid()
    toys.kill()
    toys.look()
    assert toys.pid(), "what was started again is looked after again"


def test_what_does_not_stay_up_is_tried_more_and_more_seldom_and_then_given_up(
    toys: Toys, capsys: pytest.CaptureFixture[str]
) -> None:
    for pause in (0, 2, 4):
        toys.kill()
        toys.look(after=pause - 0.1)
        assert toys.pid() is None or pause == 0
        toys.look(after=0.2)
        assert toys.pid()
    toys.kill()
    toys.look(3, after=60)
    assert toys.pid() is None
    assert toys.state.interventions() == {"worker": {"restarts": 3, "given_up": True}}
    assert capsys.readouterr().out.count("GIVEN UP") == 1
    manager.launch(toys.state, toys.parts)
    toys.look()
    assert toys.state.interventions() == {}, "somebody has started it: it counts anew"
    toys.kill()
    toys.look()
    assert toys.pid()


def test_one_that_is_stuck_for_good_is_given_up_and_left_running(toys: Toys) -> None:
    toys.reason = "events[3]: 17 records wait"
    toys.look(40, after=1_000)
    for _ in range(4):
        toys.look(6, after=20)
    running = toys.pid()
    assert running
    assert toys.state.interventions()["worker"] == {"restarts": 3, "given_up": True}
    toys.look(10, after=20)
    assert toys.pid() == running


def test_what_cannot_be_started_does_not_end_the_supervisor(toys: Toys) -> None:
    toys.parts[0] = Part("worker", ["/nowhere/to/be/found"], "", lambda: True)
    toys.kill()
    toys.kill("other")
    toys.look(6, after=100)
    assert toys.pid("other")
