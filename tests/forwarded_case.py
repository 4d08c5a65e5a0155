"""One generated case of ``X-Forwarded-For`` and ``Forwarded``, checked: for hypothesis and for `bench/fuzz.py`."""

from __future__ import annotations

import ipaddress
from random import Random

from fastapi import Request

from api.addresses import UNKNOWN, AddressBook

BOOK = AddressBook("127.0.0.0/8, 10.0.0.0/8, fd00::/8")
_NOISE = (
    "unknown",
    "",
    " ",
    '"',
    "[",
    "]",
    ":",
    "_hidden",
    "-",
    "999.1.1.1",
    "\xff",
    "1.2.3",
    "::g",
    "%eth0",
    "for=",
    ";",
)
_PIECES = (*_NOISE, "1", ".", ",", "203.0.113.9", "2001:db8::1")


def request_with(*headers: tuple[str, str], peer: str = "127.0.0.1") -> Request:
    """A request from *peer* with *headers*."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "client": (peer, 1), "headers": raw})


def forwarded_case(random: Random) -> None:
    """Raise :class:`AssertionError` where the client's address is not the one that limits count.

    The nearest proxy wrote the last entry; whatever a stranger wrote before it changes nothing.
    """
    client = _client(random)
    header = random.choice(("x-forwarded-for", "forwarded"))
    is_rfc = header == "forwarded"
    stranger = [_entry(_forged(random), is_rfc=is_rfc, random=random) for _ in range(random.randrange(4))]
    written = [_entry(_spelled(client, random, is_rfc=is_rfc), is_rfc=is_rfc, random=random)]
    behind = [
        _entry(_spelled(ipaddress.ip_address("10.1.2.3"), random, is_rfc=is_rfc), is_rfc=is_rfc, random=random)
        for _ in range(random.randrange(3))
    ]
    # Each proxy adds to the last header or writes one of its own.
    lines = [stranger, [*written, *behind]] if random.random() < 0.5 or is_rfc else [[*stranger, *written, *behind]]
    request = request_with(*((header, random.choice((",", ", ", " ,\t")).join(line)) for line in lines if line))
    assert BOOK.address_of(request) == _counted(client), request.headers.raw
    _survives(random)


def _survives(random: Random) -> None:
    """Bytes of any kind give one of the forms that limits count."""
    text = "".join(random.choice(_PIECES) for _ in range(random.randrange(40)))
    counted = BOOK.address_of(request_with((random.choice(("x-forwarded-for", "forwarded")), text)))
    if counted != UNKNOWN and not counted.startswith("_"):
        ipaddress.ip_network(counted)


def _client(random: Random) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if random.random() < 0.5:
        return ipaddress.IPv4Address(0xCB007100 + random.randrange(256))  # 203.0.113.0/24, of documents
    return ipaddress.IPv6Address((0x20010DB8 << 96) + random.getrandbits(96))


def _counted(client: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(client) if client.version == 4 else str(ipaddress.ip_network((client, 64), strict=False))


def _spelled(client: ipaddress.IPv4Address | ipaddress.IPv6Address, random: Random, *, is_rfc: bool) -> str:
    port = f":{random.randrange(1, 65_536)}"
    if client.version == 4:
        text = random.choice((str(client), f"{client}{port}", f"::ffff:{client}", f"[::ffff:{client}]{port}"))
    else:
        form = random.choice((str(client), client.exploded, str(client).upper()))
        text = random.choice((form, f"[{form}]", f"[{form}]{port}"))
    return f'"{text}"' if is_rfc or random.random() < 0.3 else text


def _forged(random: Random) -> str:
    return random.choice((*_NOISE, "6.6.6.6", "10.9.9.9", "127.0.0.1", "2001:db8:bad::1", '"6.6.6.6'))


def _entry(node: str, *, is_rfc: bool, random: Random) -> str:
    if not is_rfc:
        return node
    name = random.choice(("for", "For", "FOR"))
    return random.choice((f"{name}={node}", f"proto=https;{name}={node}", f"{name}={node};by=10.0.0.1"))
