"""Fetches pictures from hosts we chose, and from nowhere else, whatever a URL, a name server or a redirect says.

The host must be on the list, connections go to public addresses only (``clients/public_network.py``), and a redirect is
a new URL to be checked from the start. Why this is our own: docs/decisions/006-fetching-pictures.md.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore

from clients.public_network import PublicNetwork, Refused, Resolve, resolver

MAX_BYTES = 4_000_000
MAX_REDIRECTS = 3
_CONNECTIONS = 20
TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# ASCII that browsers send unchanged; letters and digits are so anyway, and "%" is, so that nothing is encoded twice.
_PATH_KEPT = "%!$&'()*+,-./:;=@[]_|~"
_QUERY_KEPT = "%!$&()*+,-./:;=?@[\\]^_`{|}~"
# Asked for as it is: what is not packed cannot unpack to a thousand times its size.
_HEADERS: dict[bytes | str, bytes | str] = {
    "Accept": ", ".join(sorted(TYPES)),
    "Accept-Encoding": "identity",
    "User-Agent": "svc-og-renderer",
}


class SafeFetcher:
    """Fetches from *hosts* by HTTPS. *resolve*, *network* and *tls* are for tests."""

    def __init__(
        self,
        hosts: frozenset[str],
        *,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = hosts
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=_CONNECTIONS,
            keepalive_expiry=10.0,
            network_backend=PublicNetwork(resolve or resolver(_CONNECTIONS), network),
        )

    def check(self, url: str) -> None:
        """Raises :class:`Refused` unless *url* is plain HTTPS on a host of the list."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refused("not a URL") from error
        if parts.scheme != "https":
            raise Refused("not an https URL")
        # The whole authority must be the host: no user, no password, no port but HTTPS's own.
        if port not in (None, 443) or parts.netloc.lower().removesuffix(":443") not in self._hosts:
            raise Refused("not on an allowed host")

    async def fetch(self, url: str, seconds: float) -> bytes:
        """The picture's bytes, at most 4 MB; raises :class:`Refused` for anything else, within *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    found = await self._one(url)
                    if isinstance(found, bytes):
                        return found
                    url = urljoin(url, found)
        except Refused:
            raise
        except Exception as error:  # A stranger's server answers: no list of its errors is complete.
            raise Refused(f"{type(error).__name__}: {error}") from error
        raise Refused("too many redirects")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _one(self, url: str) -> bytes | str:
        """The picture, or where the answer sends us."""
        self.check(url)
        url = encoded(url)
        self.check(url)
        async with self._pool.stream("GET", url, headers=_HEADERS) as answer:
            headers = {name.lower(): value.decode("utf-8", "replace") for name, value in answer.headers}
            if answer.status in _REDIRECTS and b"location" in headers:
                return headers[b"location"]
            if answer.status != 200:
                raise Refused(f"status {answer.status}")
            if headers.get(b"content-type", "").partition(";")[0].strip().lower() not in TYPES:
                raise Refused("not a picture's content type")
            if headers.get(b"content-encoding", "identity").lower() != "identity":
                raise Refused("packed, though asked for as it is")
            if int(headers.get(b"content-length", "0")) > MAX_BYTES:
                raise Refused("too large")
            data = bytearray()
            async for chunk in answer.aiter_stream():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise Refused("too large")
            return bytes(data)


def encoded(url: str) -> str:
    """*url* in ASCII as browsers send it: path and query percent-encoded in UTF-8 (WHATWG URL, sections 1.3 and 4.4).

    The host is left as it is: :meth:`SafeFetcher.check` compares it with the list.
    """
    try:
        parts = urlsplit(url)
        path, query = quote(parts.path.replace("\\", "/"), safe=_PATH_KEPT), quote(parts.query, safe=_QUERY_KEPT)
    except ValueError as error:
        raise Refused("not a URL") from error
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
