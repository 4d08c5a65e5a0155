"""An open-loop HTTP load: requests leave by the clock, whether or not earlier ones have been answered.

Latency counts from the moment a request was *due*, so that a server that stalls cannot hide the requests that queue
behind the stall (the "coordinated omission" of closed loops). Arrivals are a Poisson process of a fixed seed.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

# What is unanswered this long after the last arrival has failed.
PATIENCE_SECONDS = 10.0
_MOST_CONNECTIONS = 256
_WARM_CONNECTIONS = 32


@dataclass
class Figures:
    """What one scenario of one run came to; latencies are in seconds."""

    rate: float
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0

    @property
    def sent(self) -> int:
        """All requests that were due."""
        return sum(self.statuses.values()) + self.unanswered

    @property
    def success(self) -> float:
        """Part of the requests that were answered 2xx."""
        good = sum(count for status, count in self.statuses.items() if 200 <= status < 300)
        return good / self.sent if self.sent else 0.0

    def percentile(self, part: float) -> float:
        """The latency that *part* of all requests stayed below; an unanswered one took for ever."""
        ordered = sorted(self.latencies) + [float("inf")] * self.unanswered
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else float("nan")


@dataclass(frozen=True)
class Load:
    """One scenario: so many requests a second of *requests* to *address* (``http://host:port``)."""

    name: str
    address: str
    rate: float
    requests: Iterator[bytes]


def head(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request."""
    fields = {"Host": "wishlist.test", **headers}
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def run(loads: list[Load], seconds: float, seed: int = 1) -> dict[str, Figures]:
    """Send all *loads* at once for so many seconds; figures by name."""
    loop = asyncio.get_running_loop()
    dice = random.Random(seed)
    plan: list[tuple[float, int]] = []
    for number, load in enumerate(loads):
        at = dice.expovariate(load.rate)
        while at < seconds:
            plan.append((at, number))
            at += dice.expovariate(load.rate)
    plan.sort()
    figures = {load.name: Figures(load.rate) for load in loads}
    clients = {load.address: _Client(load.address) for load in loads}
    await asyncio.gather(*(client.warm_up() for client in clients.values()))
    prepared = [(at, loads[number], next(loads[number].requests)) for at, number in plan]
    gc.collect()
    gc.disable()
    try:
        start = loop.time() + 0.05
        for at, load, request in prepared:
            due = start + at
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            clients[load.address].send(request, due, figures[load.name])
        give_up = loop.time() + PATIENCE_SECONDS
        while any(client.under_way for client in clients.values()):
            if loop.time() >= give_up:
                break
            await asyncio.sleep(0.01)
    finally:
        gc.enable()
    for client in clients.values():
        client.close()
    return figures


class _Client:
    """Connections to one server, kept alive; a request that finds all of them busy opens another, then queues."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._idle: list[_Connection] = []
        self._queue: deque[tuple[bytes, float, Figures]] = deque()
        self._all: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self.under_way = 0

    async def warm_up(self) -> None:
        """Open some connections before the clock starts."""
        await asyncio.gather(*(self._open() for _ in range(_WARM_CONNECTIONS)))

    def send(self, request: bytes, due: float, figures: Figures) -> None:
        """Send *request*, which was due at *due* (loop time)."""
        self.under_way += 1
        figures.unanswered += 1
        if self._idle:
            self._idle.pop().send(request, due, figures)
            return
        self._queue.append((request, due, figures))
        if len(self._all) + len(self._opening) < _MOST_CONNECTIONS:
            task = asyncio.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def answered(self, connection: _Connection, status: int, due: float, figures: Figures, *, reuse: bool) -> None:
        """*connection* has got its answer."""
        self.under_way -= 1
        figures.unanswered -= 1
        figures.statuses[status] += 1
        figures.latencies.append(asyncio.get_running_loop().time() - due)
        if reuse:
            self._use(connection)
        else:
            connection.close()

    def lost(self, connection: _Connection) -> None:
        """*connection* is closed."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close every connection; answers that still come are not counted."""
        for connection in list(self._all):
            connection.close()

    async def _open(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), self._host, self._port
            )
        except OSError:
            return
        self._all.add(connection)
        self._use(connection)

    def _use(self, connection: _Connection) -> None:
        if self._queue:
            connection.send(*self._queue.popleft())
        else:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    """One request at a time; reads just enough HTTP/1.1 to know status and end of an answer."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._received = b""
        self._awaits: Callable[[int, bool], None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due: float, figures: Figures) -> None:
        """Send *request*; the client hears of the answer."""
        assert self._transport is not None
        self._awaits = lambda status, reuse: self._client.answered(self, status, due, figures, reuse=reuse)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._awaits is None:
            return
        header = self._received[:end].lower()
        length = header.find(b"content-length:")
        size = int(header[length + 15 :].split(b"\r\n", 1)[0]) if length >= 0 else 0
        if len(self._received) < end + 4 + size:
            return
        status = int(header[9:12])
        awaits, self._awaits = self._awaits, None
        self._received = b""
        awaits(status, b"connection: close" not in header)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.lost(self)
        if self._awaits is not None:
            awaits, self._awaits = self._awaits, None
            awaits(0, False)

    def close(self) -> None:
        """Close without telling anyone."""
        self._awaits = None
        if self._transport is not None:
            self._transport.close()
