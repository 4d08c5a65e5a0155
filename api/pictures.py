"""Preview pictures out of the private bucket."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from api.breaker import BreakerView
from api.database import Database
from clients.faults import Unavailable
from clients.logs import get_logger
from clients.objects import ObjectStore, preview_key

GENERIC_KEY = "social/default/wishlist-share-preview.png"
_BUILT_IN = Path(__file__).parent / "pages" / "wishlist-share-preview.png"
# Crawlers come within a second of the share and keep what they get for days.
_WAIT_SECONDS = 2.0
# While the renderer is spared, a card without a browser is there soon or not at all.
_FALLBACK_WAIT_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.1
_DRAWN, _NEVER = "drawn", "never"
_STATE = f"""
    SELECT CASE WHEN rendered_at IS NOT NULL OR fallback = '{_DRAWN}' THEN fallback
                WHEN state IN ('parked', 'refused') AND fallback IN ('none', 'parked') THEN '{_NEVER}' END
    FROM previews WHERE share_token = $1"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A share's own picture; a passing one stands in for another that will follow."""

    png: bytes
    passing: bool


class Pictures:
    """Finds a share's picture, and waits a moment for one that is being made."""

    def __init__(self, *, store: ObjectStore, db: Database, breaker: BreakerView) -> None:
        self._store = store
        self._db = db
        self._breaker = breaker
        self._built_in = _BUILT_IN.read_bytes()
        self._generic: bytes | None = None

    async def of(self, token: str) -> Picture | None:
        """The share's own picture, or None where there is none and none is coming soon."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        state = None
        try:
            while (state := await self._state(token)) is None:
                waited = loop.time() - began
                wait = _FALLBACK_WAIT_SECONDS if await self._breaker.is_open() else _WAIT_SECONDS
                if waited >= wait or await self._breaker.is_forced():
                    return None
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except Unavailable as error:
            get_logger().warning("a picture is served without PostgreSQL", error=f"{type(error).__name__}: {error}")
        if state == _NEVER:
            return None
        png = await self._get(preview_key(token))
        return None if png is None else Picture(png, passing=state == _DRAWN)

    async def generic(self) -> bytes:
        """The picture of shares whose own cannot be made: the bucket's, else the one that came with this code."""
        if self._generic is None:
            self._generic = await self._get(GENERIC_KEY)
        return self._generic or self._built_in

    async def _state(self, token: str) -> str | None:
        """What there is in the bucket: a fallback card (``drawn``), a picture proper, or nothing yet (None).

        ``never``: neither can be drawn until an operator redrives the parked row.
        """
        state: str | None = await self._db.value(_STATE, token)
        return state

    async def _get(self, key: str) -> bytes | None:
        try:
            return await asyncio.wait_for(self._store.get(key), _WAIT_SECONDS)
        except (Unavailable, TimeoutError) as error:
            get_logger().warning("a picture cannot be read", error=f"{type(error).__name__}: {error}")
            return None
