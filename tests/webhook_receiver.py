"""A receiver of webhooks on loopback, as somebody else would write it: it verifies with the specification's library."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Call:
    """One call: *is_genuine* where its signature is that of the path's secret."""

    path: str
    id: str
    body: dict[str, Any]
    is_genuine: bool
    headers: dict[str, str]


Says = Callable[[Call], tuple[int, dict[str, str]]]


@dataclass
class Receiver:
    """What it was told, and what it says to it: 204 by default. While *hold* is cleared it says nothing."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    says: Says = lambda _: (204, {})
    hold: threading.Event = field(default_factory=threading.Event)
    held_paths: frozenset[str] | None = None
    connections: int = 0
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/") -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}{path}"

    def ids(self, path: str = "/") -> list[str]:
        """The ``webhook-id`` of each call."""
        return [call.id for call in list(self.calls) if call.path == path]

    def take(self, path: str, headers: dict[str, str], data: bytes) -> tuple[int, dict[str, str]]:
        """One call."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            call = Call(
                path, headers.get("webhook-id", ""), json.loads(data), self._verify(path, headers, data), headers
            )
            self.calls.append(call)
            if self.held_paths is None or path in self.held_paths:
                self.hold.wait(30)
            return self.says(call)
        finally:
            with self._lock:
                self._now -= 1

    def _verify(self, path: str, headers: dict[str, str], data: bytes) -> bool:
        try:
            Webhook(self.secrets[path]).verify(data, headers)
        except (KeyError, WebhookVerificationError):
            return False
        return True


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    receiver.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = receiver.take(self.path, {k.lower(): v for k, v in self.headers.items()}, data)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
            except ConnectionError:
                return

        def log_message(self, format: str, *args: Any) -> None:
            """Calls are no news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        server.server_close()
