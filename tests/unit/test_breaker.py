"""The breaker against cases drawn from Resilience4j's documentation, with the spec's settings."""

from __future__ import annotations

import pytest

from config.settings import BreakerSettings
from streams.previews.breaker import NOT_ENOUGH_CALLS, CircuitBreaker, State

# The defaults, whatever the environment of a development stack says.
SPEC = BreakerSettings.model_construct()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[State]:
    return []


@pytest.fixture
def breaker(clock: Clock, changes: list[State]) -> CircuitBreaker:
    return CircuitBreaker(SPEC, lambda old, new: changes.append(new), clock)


def play(breaker: CircuitBreaker, calls: str) -> None:
    """``.`` succeeds, ``x`` fails, ``s`` succeeds slowly, ``S`` fails slowly; each must be permitted."""
    for call in calls:
        assert breaker.try_acquire(), f"{call} of {calls} is not permitted"
        breaker.record(failed=call in "xS", seconds=5.1 if call in "sS" else 0.2)


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("xx", State.CLOSED),  # two are too few to judge by
        ("xxx", State.OPEN),  # the spec's three failures in a row
        ("x.x", State.OPEN),  # 67 %
        ("x..", State.CLOSED),  # 33 %
        (".x.x", State.OPEN),  # the threshold itself, 50 %, is too much
        ("..x..x..x.", State.CLOSED),
        ("..........xxxx", State.CLOSED),  # 4 of the last 10
        ("..........xxxxx", State.OPEN),  # 5 of the last 10
        ("x........xxxx", State.CLOSED),  # the first has left the window
        ("sss", State.OPEN),  # slow is as bad as failed, at 80 %
        ("ss.s", State.CLOSED),  # 75 %
        ("ss.ss", State.OPEN),  # 80 %
        ("SSS", State.OPEN),
    ],
)
def test_rates_decide(breaker: CircuitBreaker, calls: str, state: State) -> None:
    play(breaker, calls)
    assert breaker.state is state


def test_a_call_of_exactly_the_threshold_is_not_slow(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        breaker.record(failed=False, seconds=5.0)
    assert (breaker.state, breaker.slow_call_rate) == (State.CLOSED, 0.0)


def test_rates_are_unknown_before_the_minimum(breaker: CircuitBreaker) -> None:
    play(breaker, "x.")
    assert (breaker.failure_rate, breaker.slow_call_rate) == (NOT_ENOUGH_CALLS, NOT_ENOUGH_CALLS)
    play(breaker, ".")
    assert breaker.failure_rate == pytest.approx(100 / 3)


def test_open_lets_nothing_through_for_thirty_seconds(breaker: CircuitBreaker, clock: Clock) -> None:
    play(breaker, "xxx")
    for _ in range(3):
        clock.now += 10
        assert not breaker.try_acquire()
    clock.now += 0.1
    assert breaker.try_acquire()
    assert breaker.state is State.HALF_OPEN


@pytest.mark.parametrize(
    ("trial", "state"),
    [(".", State.HALF_OPEN), ("..", State.CLOSED), (".x", State.OPEN), ("xx", State.OPEN), ("ss", State.OPEN)],
)
def test_two_trial_calls_decide(breaker: CircuitBreaker, clock: Clock, trial: str, state: State) -> None:
    play(breaker, "xxx")
    clock.now += 30.1
    play(breaker, trial)
    assert breaker.state is state


def test_a_third_trial_call_waits(breaker: CircuitBreaker, clock: Clock) -> None:
    play(breaker, "xxx")
    clock.now += 30.1
    assert [breaker.try_acquire() for _ in range(3)] == [True, True, False]
    breaker.release()
    assert breaker.try_acquire()


def test_trials_without_an_outcome_open_it_again(breaker: CircuitBreaker, clock: Clock, changes: list[State]) -> None:
    play(breaker, "xxx")
    clock.now += 30.1
    assert breaker.try_acquire() and breaker.try_acquire()
    clock.now += SPEC.max_wait_duration_in_half_open_state_seconds + 0.1
    assert not breaker.try_acquire()
    assert changes == [State.OPEN, State.HALF_OPEN, State.OPEN]


def test_an_outcome_that_comes_late_does_not_reopen(breaker: CircuitBreaker, changes: list[State]) -> None:
    assert breaker.try_acquire()
    play(breaker, "xxx")
    breaker.record(failed=True, seconds=0.2)
    assert changes == [State.OPEN]


def test_a_closed_breaker_has_forgotten(breaker: CircuitBreaker, clock: Clock) -> None:
    play(breaker, "xxx")
    clock.now += 30.1
    play(breaker, "..")
    play(breaker, "xx")
    assert breaker.state is State.CLOSED
