"""A registry of schemas with as much of Confluent's interface as is used, in memory or on a port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class FakeRegistry:
    """The three calls that are made, as Confluent's API documents them; *answer* can take any of them over."""

    def __init__(self) -> None:
        self.ids: dict[int, str] = {}
        self.subjects: dict[str, list[int]] = {}
        self.calls: list[str] = []
        self.answer: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self.next_id = 101

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.calls.append(f"{request.method} {path}")
        if (taken := self.answer(request)) is not None:
            return taken
        parts = path.strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            text = self.ids.get(int(parts[2]))
            return (
                httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})
                if text is None
                else httpx.Response(200, json={"schema": text})
            )
        text, subject = json.loads(request.content)["schema"], parts[1]
        known = [key for key in self.subjects.get(subject, []) if self.ids[key] == text]
        if parts[2:] == ["versions"]:
            if not known:
                known = [self.add(text, subject)]
            return httpx.Response(200, json={"id": known[0]})
        if not known:
            return httpx.Response(404, json={"error_code": 40401, "message": f"Subject '{subject}' not found."})
        return httpx.Response(200, json={"subject": subject, "id": known[0], "version": 1, "schema": text})

    def add(self, text: str, subject: str) -> int:
        schema_id, self.next_id = self.next_id, self.next_id + 1
        self.ids[schema_id] = text
        self.subjects.setdefault(subject, []).append(schema_id)
        return schema_id


@contextmanager
def served(registry: FakeRegistry, port: int) -> Iterator[None]:
    """*registry* answers on *port* as long as the block takes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = registry(httpx.Request(self.command, f"http://registry{self.path}", content=content))
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Questions are no news."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
