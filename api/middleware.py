"""What surrounds every request: its id, its trace, its figures, and the answer to a bug."""

from __future__ import annotations

import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ALL_METHODS, ApiError, error_response
from clients import metrics
from clients.logs import get_logger

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# Where pages of any site may send to and read the answer.
_OPEN_PREFIX = "/v1/"


class Surroundings:
    """ASGI middleware: ``X-Request-ID`` is echoed where it is harmless and made where it is not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
        parent = _TRACE_PARENT.fullmatch(headers.get("traceparent", ""))
        trace_id = f"trace_{parent[1] if parent else secrets.token_hex(8)}"
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                answer.append((b"x-trace-id", trace_id.encode()))
                if scope["path"].startswith(_OPEN_PREFIX):
                    answer.append((b"access-control-allow-origin", b"*"))
            await send(message)

        try:
            if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                bad = ApiError(400, "BAD_REQUEST", "The URL contains a NUL character. Remove it.")
                await error_response(scope, bad)(scope, receive, send_with_ids)
            else:
                await self._app(scope, receive, send_with_ids)
        except Exception:  # a bug: the caller gets the spec's body, we get the traceback
            get_logger().exception("request failed", request_id=request_id, path=scope["path"])
            if status:
                raise
            bug = ApiError(500, "INTERNAL_ERROR", "Something went wrong on our side.")
            await error_response(scope, bug)(scope, receive, send_with_ids)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            metrics.HTTP_REQUESTS.labels(route, _method(scope), str(status)).inc()
            metrics.HTTP_DURATION.labels(route).observe(time.perf_counter() - started)


def _method(scope: Scope) -> str:
    """The method, or OTHER: a label must not grow with what callers invent."""
    method: str = scope["method"]
    return method if method in ALL_METHODS else "OTHER"
