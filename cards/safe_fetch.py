"""Fetches pictures from hosts we chose, and from nowhere else, whatever a URL, a name server or a redirect says.

Against server-side request forgery (OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"): the host must be on
the list, every address of it must be public, the connection goes to the very address that was checked, and a redirect
is a new URL to be checked from the start. Why this is our own: docs/decisions/006-fetching-pictures.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

MAX_BYTES = 4_000_000
MAX_REDIRECTS = 3
TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Asked for as it is: what is not packed cannot unpack to a thousand times its size.
_HEADERS: dict[bytes | str, bytes | str] = {
    "Accept": ", ".join(sorted(TYPES)),
    "Accept-Encoding": "identity",
    "User-Agent": "svc-og-renderer",
}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Refused(Exception):
    """Nothing is fetched from there, with the reason."""


async def resolve(host: str, port: int) -> list[str]:
    """Every address of *host*; raises :class:`OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether *address* is one that anybody on the internet may be sent to, also where it wraps another one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False  # Python calls these global; networks of old use them inside (RFC 3879).
    return all(one.is_global and not one.is_multicast for one in (ip, *_wrapped(ip)))


def _wrapped(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    """The IPv4 addresses that *ip* leads to by mapping (RFC 4291), NAT64 (6052), 6to4 (3056) or Teredo (4380)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return
    if ip.ipv4_mapped is not None:
        yield ip.ipv4_mapped
    if ip in _NAT64:
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.sixtofour is not None:
        yield ip.sixtofour
    if ip.teredo is not None:
        yield from ip.teredo


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses it unless each of its addresses is public, and connects to the first of these.

    TLS still asks for the name: the certificate must be the host's.
    """

    def __init__(self, inner: httpcore.AsyncNetworkBackend, resolve: Resolve) -> None:
        self._inner = inner
        self._resolve = resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore has it."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise Refused(f"{host} is not at a public address")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """As httpcore has it."""
        await self._inner.sleep(seconds)


class SafeFetcher:
    """Fetches from *hosts* by HTTPS. *resolve*, *network* and *tls* are for tests."""

    def __init__(
        self,
        hosts: frozenset[str],
        *,
        resolve: Resolve = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = hosts
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=20,
            keepalive_expiry=10.0,
            network_backend=_PinnedBackend(network or httpcore.AnyIOBackend(), resolve),
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
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        raise Refused("too many redirects")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _one(self, url: str) -> bytes | str:
        """The picture, or where the answer sends us."""
        self.check(url)
        async with self._pool.stream("GET", url, headers=_HEADERS) as answer:
            headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
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
