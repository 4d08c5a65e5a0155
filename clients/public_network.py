"""Connections to public addresses only, whatever a name server says: for URLs that others have given us.

Against server-side request forgery (OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"): every address of a
host must be public, and the connection goes to the very address that was checked. Why this is our own:
docs/decisions/006-fetching-pictures.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Refused(Exception):
    """Nothing is sent there, with the reason."""


def resolver(threads: int) -> Resolve:
    """What finds every address of a host, or raises :class:`OSError`; *threads* names at once.

    Threads of its own: the loop has so few that some slow name servers would hold up everybody.
    """
    pool = ThreadPoolExecutor(threads, "resolver")

    async def resolve(host: str, port: int) -> list[str]:
        ask = asyncio.get_running_loop().run_in_executor
        found = await ask(pool, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return [str(address[0]) for *_, address in found]

    return resolve


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


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses it unless each of its addresses is public, and connects to the first of these.

    TLS still asks for the name: the certificate must be the host's. *network* connects.
    """

    def __init__(self, resolve: Resolve, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._resolve = resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore has it; raises :class:`Refused`."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise Refused(f"{host} is not at a public address")
        return await self._network.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """As httpcore has it."""
        await self._network.sleep(seconds)
