"""Whose address limits count, where proxies stand in front: ``X-Forwarded-For``, and RFC 7239's ``Forwarded``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache

from fastapi import Request

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# All requests whose proxy says that it does not know its client are limited together, apart from the proxy's own.
UNKNOWN = "unknown"
# Nobody has so many proxies of ours between themselves and us.
_MOST_HOPS = 50
_LONGEST_NODE = 64
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::[^\[\]]*)?")
_WITH_PORT = re.compile(r"([0-9.]+):[^:]*")
# RFC 7239, section 4: an element is parameters with semicolons between them; a value is a token or a quoted string.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ELEMENT = re.compile(rf'[ \t]*((?:[^,"]|{_QUOTED})*)(?:,|\Z)')
_FOR = re.compile(rf"(?:\A|;)[ \t]*for=({_QUOTED}|[^;,\"]*)", re.IGNORECASE)
_OBFUSCATED = re.compile(r"_[A-Za-z0-9._-]{1,63}")


class AddressBook:
    """Finds the address that limits count: forwarding headers are believed behind configured proxies only."""

    def __init__(self, trusted_proxies: str) -> None:
        """*trusted_proxies*: comma-separated networks; raises :class:`ValueError` for anything else."""
        self._trusted = [ipaddress.ip_network(text.strip()) for text in trusted_proxies.split(",") if text.strip()]

    def address_of(self, request: Request) -> str:
        """The nearest address that is no proxy of ours; an IPv6 client is its /64 network.

        Entries that name no address (``unknown``, an empty one) are passed over. Without any, a client is the name
        that the proxy gave it (``Forwarded: for=_name``), else :data:`UNKNOWN`.
        """
        address = parsed(request.client.host if request.client else "")
        if address is None:
            return UNKNOWN
        if self._is_trusted(address):
            nodes = _forwarded_nodes(request)
            if nodes:
                nearest = self._nearest(nodes[: -_MOST_HOPS - 1 : -1])
                if isinstance(nearest, str):
                    return nearest
                address = nearest
        return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)

    def _nearest(self, nodes: list[str]) -> Address | str:
        """The first of *nodes*, the nearest first, that is no proxy of ours; else the farthest; else a name."""
        found: Address | None = None
        for node in nodes:
            if (address := parsed(node)) is not None:
                found = address
                if not self._is_trusted(address):
                    break
            elif found is None and _OBFUSCATED.fullmatch(name := _unquoted(node)):
                return name
        return UNKNOWN if found is None else found

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _forwarded_nodes(request: Request) -> list[str]:
    """Whom the proxies say they serve, the nearest last; empty where they say nothing."""
    headers = request.headers
    if values := headers.getlist("x-forwarded-for"):
        return ",".join(values).split(",")
    return [node for value in headers.getlist("forwarded") for node in _rfc7239_nodes(value)]


def _rfc7239_nodes(header: str) -> Iterator[str]:
    """``for`` of each element of a Forwarded header. Nothing is believed of a header that breaks the grammar."""
    nodes, at = [], 0
    while at < len(header):
        element = _ELEMENT.match(header, at)
        if element is None:
            yield UNKNOWN
            return
        named = _FOR.search(element[1])
        nodes.append(named[1] if named else UNKNOWN)
        at = element.end()
    yield from nodes


@lru_cache(maxsize=4096)
def parsed(node: str) -> Address | None:
    """The address of *node* as proxies write it: with a port, in brackets, in quotes; None where it is none.

    An IPv4-mapped address is its IPv4 address; a zone (RFC 4007) means nothing to others and is left out.
    """
    if len(node) > _LONGEST_NODE:
        return None
    text = _unquoted(node)
    if found := _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text):
        text = found[1]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _unquoted(node: str) -> str:
    text = node.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1]).strip(" \t")
    return text
