"""The paths that nearly all requests are for, past FastAPI's own work on a request, which costs more than theirs.

FastAPI's own routes stay the truth: they document these paths, and serve whatever of them is asked in another way
(another method, a query that the endpoint reads). Only what an endpoint needs is worked out here: path parameters, the
request, and dependencies that are functions of the request.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, cast, get_args, get_origin

from fastapi import FastAPI, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute, APIRouter
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[..., Awaitable[Response]]


class Shortcut:
    """One route's way around FastAPI."""

    def __init__(self, route: APIRoute, method: str) -> None:
        self.route = route
        self.method = method
        self.pattern: re.Pattern[str] = route.path_regex
        self._endpoint: Endpoint = route.endpoint
        self._dependencies: dict[str, Callable[[Request], Awaitable[Any]]] = {}
        self._request: str | None = None
        self._query: list[bytes] = []
        for name, parameter in inspect.signature(route.endpoint, eval_str=True).parameters.items():
            kind = parameter.annotation
            if kind is Request:
                self._request = name
            elif get_origin(kind) is Annotated and isinstance(get_args(kind)[1], Depends):
                self._dependencies[name] = get_args(kind)[1].dependency
            elif name not in route.param_convertors:
                if parameter.default is parameter.empty:
                    raise TypeError(f"{route.path}: {name} is neither in the path nor a dependency")
                self._query.append(name.encode())

    def ignores(self, query: bytes) -> bool:
        """Whether the endpoint reads nothing of *query*: mail programs and networks add their own parameters."""
        return not query or not self._query or not (b"%" in query or any(name in query for name in self._query))

    async def answer(self, request: Request) -> Response:
        """What the route's endpoint answers."""
        arguments = dict(request.path_params)
        if self._request:
            arguments[self._request] = request
        for name, dependency in self._dependencies.items():
            arguments[name] = await dependency(request)
        return await self._endpoint(**arguments)


def shortcuts(*endpoints: Endpoint, routers: Sequence[APIRouter]) -> list[Shortcut]:
    """One for each of *endpoints*, in the method by which most requests come."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return [
        Shortcut(route, method)
        for endpoint in endpoints
        for route in routes
        for method in sorted(route.methods or ())
        if route.endpoint is endpoint and method != "HEAD"
    ]


class Express:
    """ASGI application that takes *shortcuts* itself, and hands everything else to its *owner*.

    *around* is what the owner has around its own routes: a shortcut goes past the owner's middleware too.
    """

    def __init__(self, owner: FastAPI, *, shortcuts: Sequence[Shortcut], around: Callable[[ASGIApp], ASGIApp]) -> None:
        self._owner = owner
        self._shortcuts = shortcuts
        self._short = around(self._serve)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            path, method, query = scope["path"], scope["method"], scope["query_string"]
            for shortcut in self._shortcuts:
                if (
                    shortcut.method == method
                    and (found := shortcut.pattern.match(path))
                    and (not query or shortcut.ignores(query))
                ):
                    scope["app"] = self._owner
                    scope["route"] = shortcut.route
                    scope["path_params"] = found.groupdict()
                    scope["shortcut"] = shortcut
                    await self._short(scope, receive, send)
                    return
        await self._owner(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope["shortcut"], Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, shortcut: Shortcut, request: Request) -> Response:
        try:
            return await shortcut.answer(request)
        except Exception as error:
            for kind in type(error).__mro__:
                if handler := self._owner.exception_handlers.get(kind):
                    return cast(Response, await handler(request, error))  # type: ignore[misc]  # all of ours are async
            raise
