"""What FCM and APNs have in common: a message for one device goes out, and the service says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Verdict(StrEnum):
    """What to do with the message, or with the device."""

    TAKEN = "taken"
    GONE = "gone"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class PushMessage:
    id: UUID
    token: str
    title: str
    body: str
    collapse_id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    reason: str
    retry_after: float | None = None


class PushGateway(Protocol):
    async def send(self, message: PushMessage) -> Answer: ...

    async def close(self) -> None: ...
