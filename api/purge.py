"""Tells the CDN which pages and pictures are out of date, without making anybody wait."""

from __future__ import annotations

import asyncio

import httpx
import stamina

from clients import metrics
from clients.logs import get_logger

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 5.0
_MOST_WAITING = 1_000


class CdnPurge:
    """Posts ``{"urls": […]}`` to the hook of ``API_PURGE_URL``; does nothing where there is none."""

    def __init__(self, hook: str | None) -> None:
        self._hook = hook
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS)
        self._waiting: set[asyncio.Task[None]] = set()

    def purge(self, *urls: str) -> None:
        """Ask for *urls* to be forgotten, in the background; a page that is not lives 300 s at most."""
        if self._hook is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            metrics.CDN_PURGES.labels("dropped").inc()
            return
        task = asyncio.create_task(self._send(self._hook, urls))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Wait for requests under way, for one time-out at most."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=_TIMEOUT_SECONDS)
        await self._http.aclose()

    async def _send(self, hook: str, urls: tuple[str, ...]) -> None:
        try:
            async for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=_ATTEMPTS, wait_initial=0.2):
                with attempt:
                    (await self._http.post(hook, json={"urls": urls})).raise_for_status()
        except httpx.HTTPError as error:
            metrics.CDN_PURGES.labels("failed").inc()
            get_logger().warning("the CDN was not purged", error=f"{type(error).__name__}: {error}")
        else:
            metrics.CDN_PURGES.labels("done").inc()
