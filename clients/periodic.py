"""Periodic work that no exception ends: one loop for every job, and a board that says which jobs fail now."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from clients import metrics
from clients.faults import Unavailable
from clients.logs import get_logger
from clients.postgres import Fault, fault_of

_LONGEST_PAUSE_SECONDS = 300.0


def is_passing(error: BaseException) -> bool:
    """Whether *error* says that something outside is away, so that the same work may succeed later."""
    return isinstance(error, Unavailable) or fault_of(error) is Fault.PASSING


class JobBoard:
    """The jobs of one process that fail now, each with its last error. ``/healthz`` shows it."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> dict[str, str]:
        """Each failing job with its last error; for any thread."""
        return dict(self._failing)

    def note_failure(self, job: str, error: Exception) -> None:
        """The last run of *job* ended with *error*."""
        self._failing[job] = f"{type(error).__name__}: {error}"[:500]

    def note_success(self, job: str) -> None:
        """The last run of *job* ended well."""
        self._failing.pop(job, None)


async def every(
    seconds: float,
    work: Callable[[], Awaitable[object]],
    *,
    name: str,
    board: JobBoard,
    retry_seconds: float = 1.0,
) -> None:
    """Do *work* every *seconds* until cancelled, and at once again where it returns True: there is more.

    An outage is retried after *retry_seconds*. Any other exception is a defect: it is logged with its traceback, and
    the pauses grow up to five minutes. Neither leaves this loop.
    """
    defects = 0
    while True:
        try:
            pause = 0.0 if await work() is True else seconds
            defects = 0
            board.note_success(name)
        except Exception as error:
            board.note_failure(name, error)
            if is_passing(error):
                pause = random.uniform(0.5, 1.0) * retry_seconds
                get_logger().warning("a job waits", job=name, error=f"{type(error).__name__}: {error}")
            else:
                defects += 1
                pause = random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE_SECONDS, retry_seconds * 2.0 ** min(defects, 10))
                metrics.JOB_FAILURES.labels(name).inc()
                get_logger().exception("a job failed", job=name, failures=defects, seconds=round(pause, 1))
        await asyncio.sleep(pause)
