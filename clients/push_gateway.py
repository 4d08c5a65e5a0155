"""What the pushes' relay knows of the outside: one message for one device, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

LONGEST_COLLAPSE_ID = 64


class Verdict(StrEnum):
    """What the caller must do with the message."""

    TAKEN = "taken"
    GONE = "gone"
    """The device token is dead: remove it."""
    REFUSED = "refused"
    """It can never be sent as it is."""
    LATER = "later"
    """It may work later. The service may have taken it all the same: send it again under the same id."""


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One notification for one device. *url* is where a tap leads; after *expires_at* nobody wants it any more.

    Of messages with one *collapse_id* (at most 64 bytes of printable ASCII) a device shows the last.
    """

    id: UUID
    token: str
    title: str
    body: str
    collapse_id: str
    url: str
    expires_at: datetime

    def __post_init__(self) -> None:
        if not (self.collapse_id.isascii() and self.collapse_id.isprintable()):
            raise ValueError("collapse_id: must be printable ASCII, it travels in a header")
        if len(self.collapse_id) > LONGEST_COLLAPSE_ID:
            raise ValueError(f"collapse_id: has {len(self.collapse_id)} bytes, at most {LONGEST_COLLAPSE_ID} are taken")
        if self.expires_at.tzinfo is None:
            raise ValueError("expires_at: needs a time zone")


@dataclass(frozen=True, slots=True)
class Answer:
    """*reason* is the service's own word, or what went wrong on the way; *retry_after* is in seconds."""

    verdict: Verdict
    reason: str
    retry_after: float | None = None


class PushGateway(Protocol):
    """One service that pushes to devices."""

    async def send(self, message: PushMessage) -> Answer:
        """Send *message* once. Faults of the outside are :attr:`Verdict.LATER`, never an exception."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...
