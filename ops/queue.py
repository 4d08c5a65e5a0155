"""What the queue is before the first digest: there."""

from __future__ import annotations

from collections.abc import AsyncIterator

from clients.queue import NotificationQueue
from config.settings import QueueSettings


async def prepare(settings: QueueSettings) -> AsyncIterator[str]:
    """Make the queue where it is missing. Raises :class:`clients.faults.Unavailable`."""
    if await NotificationQueue(settings).ensure():
        yield f"made queue {settings.queue}"
