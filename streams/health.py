"""A worker's health page."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import generate_latest

from clients.periodic import JobBoard
from config.settings import StreamSettings
from streams.progress import ProgressWatch, Watched


def health_of(engine: Watched, watch: ProgressWatch) -> tuple[str, str | None]:
    """``stopped``, ``stuck``, ``waiting``, ``starting`` or ``healthy``, and the reason."""
    if engine.stopped:
        return "stopped", engine.stopped
    if stuck := watch.stuck:
        return "stuck", "; ".join(f"{tp.topic}[{tp.partition}]: {stuck[tp]}" for tp in sorted(stuck))
    if engine.waiting:
        return "waiting", engine.waiting
    if not engine.has_started:
        return "starting", "it has not joined its group yet"
    return "healthy", None


def serve(engine: Watched, watch: ProgressWatch, settings: StreamSettings, board: JobBoard) -> None:
    """``/healthz`` (503 before it has started, and where a person or a restart is needed), ``/livez`` and ``/metrics``.

    ``/livez`` is for who restarts: 503 only where the worker is stuck. A group that has stopped itself would do the
    same again after a restart, and an outage does not end sooner by one. A job that fails is named in the body and
    changes no status: the others go on, and so does it. All in threads of their own.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4", generate_latest())
                return
            state, reason = health_of(engine, watch)
            wrong = {"stuck"} if self.path == "/livez" else {"stuck", "stopped", "starting"}
            body = json.dumps({"status": state, "reason": reason, "failing_jobs": board.failing}).encode()
            self._answer(503 if state in wrong else 200, "application/json", body)

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Health checks are no news."""

    server = ThreadingHTTPServer((settings.metrics_host, settings.metrics_port), Handler)
    Thread(target=server.serve_forever, name="health", daemon=True).start()
