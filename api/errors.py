"""What can go wrong with a request, and the one place where it becomes an answer.

Every error body is the spec's ``{"error", "message", "request_id"}``, except the 404 of a share: unknown, revoked and
expired tokens get the same bytes by :func:`share_not_found`, so nobody learns that a token ever existed.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from api.templates import render
from clients.faults import Unavailable
from clients.logs import get_logger

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
PAGE_PREFIX = "/wishlists/shared/"
_LOOKUP_PREFIX = "/api/v2/wishlists/shared/"

_GONE = "This shared wishlist is no longer available"
_GONE_JSON = orjson.dumps({"error": "SHARE_NOT_FOUND", "message": _GONE})
_GONE_HTML = render("notice.html", title=_GONE, text="Ask the person who sent you the link for a new one.")
ALL_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_NO_STORE = {"Cache-Control": "no-store"}
# What customers are told of an outage, by the dependency's name.
_IN_WORDS = {"PostgreSQL": "The wishlist database"}


class ApiError(Exception):
    """An answer other than the one that was asked for."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {error}: {message}")
        self.status = status
        self.error = error
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class ShareNotFound(Exception):
    """No share can be seen under this token: there never was one, or it is revoked, or it has expired."""


class ServiceUnavailable(ApiError):
    """503: a part that this request needs is away; the same request may work later."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "SERVICE_UNAVAILABLE", message, headers={"Retry-After": "5"})


def unauthorized(message: str) -> ApiError:
    """401: who asks is not known."""
    return ApiError(401, "UNAUTHORIZED", message, headers={"WWW-Authenticate": 'Bearer realm="vantage"'})


def invalid(field: str, problem: str, remedy: str) -> ApiError:
    """422 for one field."""
    return invalid_fields([{"field": field, "problem": problem, "remedy": remedy}])


def invalid_fields(details: list[dict[str, str]]) -> ApiError:
    """422 that names each bad field, what is wrong with it and what to send instead."""
    message = "; ".join(f"{item['field']}: {item['problem']}. {item['remedy']}" for item in details[:5])
    return ApiError(422, "VALIDATION_ERROR", message, extra={"details": details[:50]})


def share_not_found(scope: Scope) -> Response:
    """The only 404 of a share: byte-identical whatever the reason, one form for the page and one for the rest."""
    if scope["path"].startswith(PAGE_PREFIX):
        return Response(_GONE_HTML, 404, media_type=HTML, headers=_NO_STORE)
    return Response(_GONE_JSON, 404, media_type=JSON, headers=_NO_STORE)


def error_response(scope: Scope, problem: ApiError) -> Response:
    """*problem* as an answer: a page for people who read a page, the spec's error body for everyone else."""
    if scope["path"].startswith(PAGE_PREFIX):
        page = render("notice.html", title=problem.message, text="Please try again in a little while.")
        return Response(page, problem.status, headers={**_NO_STORE, **problem.headers}, media_type=HTML)
    request_id = scope.get("state", {}).get("request_id", "")
    body = {"error": problem.error, "message": problem.message, **problem.extra, "request_id": request_id}
    return Response(orjson.dumps(body), problem.status, headers=problem.headers, media_type=JSON)


def install(app: FastAPI) -> None:
    """Teach *app* to answer every exception that leaves a route."""

    async def api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(request.scope, error)

    async def not_found(request: Request, _: Exception) -> Response:
        return share_not_found(request.scope)

    async def bad_parameter(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        details = [
            {
                "field": str(item["loc"][-1]),
                "problem": str(item["msg"]),
                "remedy": "Send a value of the documented type or leave it out.",
            }
            for item in error.errors()
        ]
        return error_response(request.scope, invalid_fields(details))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and request.scope["path"].startswith((PAGE_PREFIX, _LOOKUP_PREFIX)):
            return share_not_found(request.scope)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        phrase = HTTPStatus(error.status_code).phrase
        name = phrase.upper().replace(" ", "_")
        return error_response(request.scope, ApiError(error.status_code, name, f"{phrase}.", headers=headers))

    async def outage(request: Request, error: Exception) -> Response:
        get_logger().warning("something outside did not answer", error=str(error))
        what = getattr(error, "dependency", "Something")
        message = f"{_IN_WORDS.get(what, what)} is not available. Try again shortly."
        return error_response(request.scope, ServiceUnavailable(message))

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(ShareNotFound, not_found)
    app.add_exception_handler(RequestValidationError, bad_parameter)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Unavailable, outage)


def _allowed(request: Request) -> list[str]:
    """Every method by which the path can be asked: the router itself names those of the first route only."""
    routes = request.app.routes
    tried = {method: {**request.scope, "method": method} for method in ALL_METHODS}
    return [method for method, scope in tried.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]
