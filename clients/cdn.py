"""Where the world finds shares, and how the CDN in between is told what is out of date."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx
import stamina

from clients import metrics
from clients.logs import get_logger
from config.settings import ApiSettings

_ATTEMPTS = 4
_TIMEOUT_SECONDS = 5.0
_MOST_WAITING = 1_000


def share_url(settings: ApiSettings, token: str) -> str:
    """The link that people send each other."""
    return f"{settings.public_url}/wishlists/shared/{token}"


def picture_url(settings: ApiSettings, token: str, version: str | None = None) -> str:
    """The stable address of a share's preview picture; *version* makes networks fetch a new picture anew."""
    return f"{settings.cdn_url}/social/{token}/preview.png" + (f"?v={version}" if version else "")


def version_of(content_hash: str) -> str:
    """The version by which a picture of this content is given out."""
    return content_hash.removeprefix("sha256:")[:12]


def addresses_of(settings: ApiSettings, token: str, versions: Iterable[str]) -> list[str]:
    """Every address under which the CDN may hold something of a share."""
    return [
        share_url(settings, token),
        picture_url(settings, token),
        *(picture_url(settings, token, version) for version in sorted(versions)),
    ]


class CdnPurge:
    """Posts ``{"urls": […]}`` to the hook of ``API_PURGE_URL``; does nothing where there is none."""

    def __init__(self, hook: str | None) -> None:
        self._hook = hook
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS)
        self._waiting: set[asyncio.Task[bool]] = set()

    def purge(self, *urls: str) -> None:
        """Ask for *urls* to be forgotten, in the background; a page that is not lives 300 s at most."""
        if self._hook is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            metrics.CDN_PURGES.labels("dropped").inc()
            return
        task = asyncio.create_task(self.purged(*urls))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Wait for requests under way, for one time-out at most."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=_TIMEOUT_SECONDS)
        await self._http.aclose()

    @property
    def is_told(self) -> bool:
        """Whether there is a hook to tell."""
        return self._hook is not None

    async def purged(self, *urls: str) -> bool:
        """Ask for *urls* to be forgotten, and wait for it; whether they were, or there is nobody to ask."""
        hook = self._hook
        if hook is None:
            return True
        try:
            async for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=_ATTEMPTS, wait_initial=0.2):
                with attempt:
                    (await self._http.post(hook, json={"urls": urls})).raise_for_status()
        except Exception as error:  # httpx lets errors of a bad URL and of the libraries below it through
            metrics.CDN_PURGES.labels("failed").inc()
            get_logger().warning("the CDN was not purged", error=f"{type(error).__name__}: {error}")
            return False
        metrics.CDN_PURGES.labels("done").inc()
        return True
