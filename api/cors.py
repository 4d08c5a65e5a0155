"""Which sites' pages may call ``/api/v2`` (Fetch standard, "CORS protocol"): those of a setting, without cookies."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/api/v2/"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "X-Experiment-Variant",
    "X-Request-ID",
    "traceparent",
)
_ANSWER_HEADERS = (
    *("Idempotent-Replayed", "Retry-After", "X-Request-ID", "X-Trace-ID"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
)


def with_cors(app: ASGIApp, origins: str) -> ASGIApp:
    """*app*, whose API answers pages of *origins* (comma-separated); the same application without any."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if not allowed:
        return app
    cors = CORSMiddleware(
        app,
        allow_origins=allowed,
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
        max_age=600,
    )

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (cors if is_api else app)(scope, receive, send)

    return serve
