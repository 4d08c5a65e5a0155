"""How the API tells the world: Kafka first, the outbox where Kafka does not take the event in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import asyncpg

from clients import outbox
from clients.faults import Unavailable
from clients.logs import get_logger
from clients.postgres import outages_named
from clients.producer import EventProducer
from schemas.codec import Codec
from schemas.event import ShareEvent

# View events that may wait at once while Kafka and PostgreSQL are both away; beyond it they are lost, and said so.
_MOST_WAITING = 20_000
_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.02
# Longest wait for a connection and the row.
_OUTBOX_SECONDS = 5.0


class Publisher:
    """Sends each event once it can: the same event id by either way, so that no reader counts it twice."""

    def __init__(self, *, producer: EventProducer, pool: asyncpg.Pool, codec: Codec) -> None:
        self._producer = producer
        self._pool = pool
        self._codec = codec
        self._waiting: set[asyncio.Task[None]] = set()
        self._under_way = 0

    async def publish(self, event: ShareEvent, *, behind_others: bool = False) -> None:
        """Return once the event is durable. *behind_others*: its share has unsent events in the outbox.

        Raises :class:`clients.faults.Unavailable` where neither Kafka nor PostgreSQL takes it.
        """
        if not behind_others:
            try:
                await self._producer.send(event)
                return
            except Unavailable as error:
                get_logger().info("Kafka did not take an event in time", error=str(error))
        await self.keep(event)

    async def keep(self, event: ShareEvent) -> None:
        """Put the event into the outbox."""
        with outages_named():
            async with asyncio.timeout(_OUTBOX_SECONDS):
                await outbox.append(self._pool, self._codec, event)

    def publish_later(self, event: ShareEvent, *, is_row: bool) -> None:
        """Send a view without making its reader wait. *is_row*: PostgreSQL has the share already.

        A share without a row may have its creation in the outbox: its views queue behind that.
        """
        if self._under_way + len(self._waiting) >= _MOST_WAITING:
            get_logger().error("a view event is lost: too many wait for Kafka and PostgreSQL")
            return
        if not is_row:
            self._see_to(self._queue(event))
            return

        def settled(failure: Exception | None) -> None:
            self._under_way -= 1
            if failure is not None:
                get_logger().info("Kafka did not take an event in time", error=str(failure))
                self._see_to(self._keep_view(event))

        self._under_way += 1
        try:
            self._producer.send_later(event, settled)
        except Unavailable as error:
            settled(error)

    async def drain(self, seconds: float) -> None:
        """Wait for events under way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way or self._waiting:  # noqa: ASYNC110  # they are two kinds
                    await asyncio.sleep(_LOOK_SECONDS)

    def _see_to(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _queue(self, event: ShareEvent) -> None:
        """Send a view of a share that may have unsent events."""
        try:
            with outages_named():
                behind_others = await outbox.has_unsent(self._pool, event.share_token)
            await self.publish(event, behind_others=behind_others)
        except Unavailable as error:
            get_logger().warning("a view event waits", error=f"{type(error).__name__}: {error}")
            await self._keep_view(event)

    async def _keep_view(self, event: ShareEvent) -> None:
        """Keep a view that Kafka did not take, and try both again where PostgreSQL is away too."""
        while True:
            try:
                await self.keep(event)
                return
            except Unavailable as error:
                get_logger().warning("a view event waits", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_PAUSE_SECONDS)
            with contextlib.suppress(Unavailable):
                await self._producer.send(event)
                return
