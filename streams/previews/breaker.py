"""A circuit breaker with Resilience4j's semantics (resilience4j.readme.io, "CircuitBreaker"), count-based window.

Why it is our own: docs/decisions/005-breaker.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from config.settings import BreakerSettings

NOT_ENOUGH_CALLS = -1.0


class State(StrEnum):
    """What the breaker lets through: everything, nothing, or a few trial calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Asked before each call, told after it. Not for use from several threads.

    *on_change* is called with the old and the new state; *clock* returns seconds that never go back.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        on_change: Callable[[State, State], None] = lambda old, new: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._clock = clock
        self.state = State.CLOSED
        self._since = clock()
        self._permits = 0
        self._calls: deque[tuple[bool, bool]] = deque(maxlen=settings.sliding_window_size)

    @property
    def failure_rate(self) -> float:
        """Failed calls of the window in percent, or -1 while they are too few to judge by."""
        return self._rate(sum(failed for failed, _ in self._calls))

    @property
    def slow_call_rate(self) -> float:
        """Slow calls of the window in percent, or -1 while they are too few to judge by."""
        return self._rate(sum(slow for _, slow in self._calls))

    def try_acquire(self) -> bool:
        """Whether a call may be made now; whoever gets True must :meth:`record` its outcome or :meth:`release`."""
        waited = self._clock() - self._since
        if self.state is State.OPEN and waited > self._settings.wait_duration_in_open_state_seconds:
            self._go(State.HALF_OPEN)
        elif (
            self.state is State.HALF_OPEN
            and not self._permits
            and waited > self._settings.max_wait_duration_in_half_open_state_seconds
        ):
            # Trial calls whose outcome never came must not keep everything waiting for good.
            self._go(State.OPEN)
        if self.state is State.HALF_OPEN:
            if not self._permits:
                return False
            self._permits -= 1
        return self.state is not State.OPEN

    def release(self) -> None:
        """Give the permission back: no call was made."""
        if self.state is State.HALF_OPEN:
            self._permits += 1

    def record(self, *, failed: bool, seconds: float) -> None:
        """Count one call that took *seconds*, and change state where the rates say so."""
        self._calls.append((failed, seconds > self._settings.slow_call_duration_seconds))
        if self.state is State.OPEN or self.failure_rate == NOT_ENOUGH_CALLS:
            return
        exceeded = (
            self.failure_rate >= self._settings.failure_rate_threshold
            or self.slow_call_rate >= self._settings.slow_call_rate_threshold
        )
        if exceeded:
            self._go(State.OPEN)
        elif self.state is State.HALF_OPEN:
            self._go(State.CLOSED)

    def _rate(self, count: int) -> float:
        if self.state is State.HALF_OPEN:
            needed = self._settings.permitted_calls_in_half_open_state
        else:
            needed = min(self._settings.minimum_number_of_calls, self._settings.sliding_window_size)
        return 100.0 * count / len(self._calls) if len(self._calls) >= needed else NOT_ENOUGH_CALLS

    def _go(self, new: State) -> None:
        old, self.state = self.state, new
        self._since = self._clock()
        if new is State.HALF_OPEN:
            self._permits = self._settings.permitted_calls_in_half_open_state
            self._calls = deque(maxlen=self._permits)
        elif new is State.CLOSED:
            self._calls = deque(maxlen=self._settings.sliding_window_size)
        self._on_change(old, new)
