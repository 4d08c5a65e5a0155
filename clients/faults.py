"""One name for an outage, whichever part is away."""

from __future__ import annotations


class Unavailable(ConnectionError):
    """*dependency* (``Kafka``, ``PostgreSQL``, ``the bucket``, …) did not do now what it was asked.

    The same call may work later; the data of the call is not the reason.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency}: {reason}")
        self.dependency = dependency
        self.reason = reason
