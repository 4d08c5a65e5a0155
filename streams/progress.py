"""Notices that records wait in a partition and nothing moves, whatever the reason.

It runs in a thread and asks the brokers itself: neither a fetcher that has fallen silent nor an event loop that stands
still keeps it from telling. Where a try has just failed for a passing fault, the worker is waiting, not stuck:
a restart would not help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Protocol

from faust.types import TP

from clients import metrics
from clients.logs import get_logger
from config.settings import StreamSettings


class Watched(Protocol):
    """What is looked at: :class:`streams.engine.Engine`."""

    stopped: str | None
    waiting: str | None
    back_offs: int
    has_started: bool

    @property
    def group(self) -> str:
        """The consumer group."""
        ...

    @property
    def linger_seconds(self) -> float:
        """How long a batch that is not full waits for more."""
        ...

    def watermark(self, tp: TP) -> int | None:
        """The next offset that the sink has reached; None where that is not known yet."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition in which records wait: *position* and *back_offs* have been the same for *seconds*."""

    position: int | None
    back_offs: int
    end: int
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.position is None:
            return f"no position is known, the log ends at {self.end}; so for {self.seconds:.0f} s"
        return f"{self.end - self.position} records wait at offset {self.position}, for {self.seconds:.0f} s"


class ProgressWatch:
    """Looks every few seconds at the partitions that this worker has been assigned."""

    def __init__(
        self,
        engine: Watched,
        *,
        assigned: Callable[[], Collection[TP]],
        ends: Callable[[Iterable[TP]], Mapping[tuple[str, int], int]],
        settings: StreamSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._assigned = assigned
        self._ends = ends
        self._every = settings.progress_check_seconds
        self._limit = settings.stuck_after_seconds + engine.linger_seconds
        self._clock = clock
        self._looked_at = clock()
        self._standing: dict[TP, Standing] = {}
        metrics.STUCK_PARTITIONS.labels(engine.group).set(0)

    @property
    def stuck(self) -> Mapping[TP, Standing]:
        """The partitions in which nothing has moved for too long."""
        return {tp: standing for tp, standing in self._standing.items() if standing.seconds >= self._limit}

    def start(self) -> None:
        """Look until the process ends."""
        Thread(target=self._run, name="progress", daemon=True).start()

    def look(self) -> None:
        """Compare the logs' ends with the watermarks, once."""
        assigned = self._assigned()
        ends = self._ends(assigned)
        # Time in which the whole machine stood still, or in which no broker answered, is not the worker's.
        now = self._clock()
        passed = min(now - self._looked_at, 2 * self._every)
        self._looked_at = now
        before = self.stuck.keys()
        self._standing = {
            tp: standing for tp in assigned if (standing := self._stand(tp, ends.get(tp), passed)) is not None
        }
        stuck = self.stuck
        for tp in stuck.keys() - before:
            get_logger().error(
                "stuck", group=self._engine.group, topic=tp.topic, partition=tp.partition, how=str(stuck[tp])
            )
        metrics.STUCK_PARTITIONS.labels(self._engine.group).set(len(stuck))
        metrics.GROUP_WAITING.labels(self._engine.group).set(self._engine.waiting is not None)
        self._tell_lag(assigned, ends)

    def _tell_lag(self, assigned: Collection[TP], ends: Mapping[tuple[str, int], int]) -> None:
        """Where an end or a position is not known, the last figure stands."""
        marks = [(ends.get(tp), self._engine.watermark(tp)) for tp in assigned]
        known = [(end, mark) for end, mark in marks if end is not None and mark is not None]
        if len(known) == len(marks):
            metrics.GROUP_LAG.labels(self._engine.group).set(sum(max(0, end - mark) for end, mark in known))

    def _stand(self, tp: TP, end: int | None, passed: float) -> Standing | None:
        held = self._standing.get(tp)
        if self._engine.stopped:
            return None
        if end is None:  # no broker tells: nothing could have been read either
            return held
        position, back_offs = self._engine.watermark(tp), self._engine.back_offs
        if end <= (position or 0):
            return None
        if held is None or (held.position, held.back_offs) != (position, back_offs):
            return Standing(position, back_offs, end)
        return Standing(position, back_offs, end, held.seconds + passed)

    def _run(self) -> None:
        while True:
            time.sleep(self._every)
            try:
                self.look()
            except Exception as error:  # whatever it is, the next look may tell
                get_logger().exception("progress is not known", error=str(error))
