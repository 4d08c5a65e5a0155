"""The public keys of a JWKS endpoint (RFC 7517), fetched without holding up any request that needs no new key.

All requests share one fetch. At most one starts in a second, and none within five seconds after a failure, whatever
key ids callers invent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import orjson
from cachetools import TTLCache

from clients.logs import get_logger

FETCH_SECONDS = 3.0
# A key set is read anew in the background before its time is over, so that no request waits for it.
_REFRESH_SECONDS = 240.0
FRESH_SECONDS = 300.0
# While the endpoint does not answer, its last answer counts for so long.
STALE_SECONDS = 900.0
_PAUSE_SECONDS = 1.0
_PAUSE_AFTER_FAILURE_SECONDS = 5.0
# How long an unknown key id is refused without asking again.
_UNKNOWN_SECONDS = 30.0
_MOST_UNKNOWN = 10_000
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100


class KeysUnavailable(Exception):
    """The endpoint does not answer, and no key of an earlier answer may be used."""


class UnknownKey(Exception):
    """The endpoint has no such key."""


class KeySet:
    """Finds RSA keys by their id. *clock* counts seconds."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        # A connection is used once in some minutes: keeping it open would only let it break.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(timeout=FETCH_SECONDS, limits=limits, follow_redirects=True)
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._ended_at = float("-inf")
        self._failed = False
        self._unknown: TTLCache[str, None] = TTLCache(_MOST_UNKNOWN, _UNKNOWN_SECONDS, timer=clock)
        self._fetch: asyncio.Task[None] | None = None

    async def key_for(self, token: str) -> Any:
        """The key that *token* names; raises :class:`UnknownKey`, :class:`KeysUnavailable` or a PyJWT error."""
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str) or kid in self._unknown:
            raise UnknownKey
        age = self._clock() - self._read_at
        if kid in self._keys and age < STALE_SECONDS:
            if age >= _REFRESH_SECONDS:
                fetch = self._refresh()
                # After a failure nobody waits for the next try: the last answer counts while it may.
                if age >= FRESH_SECONDS and not self._failed and fetch is not None:
                    await asyncio.shield(fetch)
        elif (fetch := self._refresh()) is not None:
            await asyncio.shield(fetch)
        return self._found(kid)

    def _found(self, kid: str) -> Any:
        key = self._keys.get(kid)
        if key is not None and self._clock() - self._read_at < STALE_SECONDS:
            return key
        if self._failed:
            raise KeysUnavailable
        self._unknown[kid] = None
        raise UnknownKey

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; None where the last has just failed."""
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        since = self._clock() - self._ended_at
        if self._failed and since < _PAUSE_AFTER_FAILURE_SECONDS:
            return None
        pause = max(_PAUSE_SECONDS - since, 0.0)
        self._fetch = asyncio.create_task(self._read(pause), name="jwks")
        return self._fetch

    async def _read(self, pause: float) -> None:
        try:
            await asyncio.sleep(pause)
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = _keys_of(await self._download())
        except Exception as error:  # an endpoint can fail in any way; whoever waits is told by _failed
            self._failed = True
            get_logger().warning("the JWKS endpoint did not answer", error=f"{type(error).__name__}: {error}")
        else:
            self._failed = False
            self._read_at = self._clock()
            for kid in self._keys:
                self._unknown.pop(kid, None)
        finally:
            self._ended_at = self._clock()

    async def _download(self) -> bytes:
        content = bytearray()
        async with self._http.stream("GET", self._url) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _MOST_BYTES:
                    raise ValueError(f"the key set is larger than {_MOST_BYTES} bytes")
        return bytes(content)


def _keys_of(content: bytes) -> dict[str, Any]:
    """RSA keys for signatures by their id; raises :class:`ValueError` for what is no key set. It may be empty."""
    body = orjson.loads(content)
    keys = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise ValueError(f"not a key set of at most {_MOST_KEYS} keys")
    found: dict[str, Any] = {}
    for described in keys:
        if not isinstance(described, dict) or described.get("kty") != "RSA" or described.get("use", "sig") != "sig":
            continue
        kid = described.get("kid")
        if not isinstance(kid, str) or kid in found:
            continue
        try:
            found[kid] = jwt.PyJWK(described, algorithm="RS256").key
        except Exception as error:  # a key that cannot be read costs itself, not its neighbours
            get_logger().warning("a key of the JWKS endpoint cannot be read", kid=kid[:64], error=str(error))
    return found
