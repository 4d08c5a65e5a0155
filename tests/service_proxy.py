"""Between a process and the bucket or the queue: counts what is stored, fails or keeps silent when it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_SILENCE_SECONDS = 60
# Who was to hear nothing is not waited for.
_CLOSE_SECONDS = 2
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class ServiceProxy:
    """Forwards to *target*; every *fail_every*-th call fails, and all do while *down*.

    The answers to *muffled* calls, which have been forwarded, never come; each one sets ``muffled_one``.
    """

    def __init__(self, target: str) -> None:
        self.stored: Counter[str] = Counter()
        self.calls = 0
        self.fail_every = 0
        self.down = False
        self.muffled: Callable[[Request], bool] = lambda _: False
        self.muffled_one = asyncio.Event()
        self.url = ""
        self._http = httpx.AsyncClient(base_url=target, timeout=30)

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.calls += 1
        if self.down or (self.fail_every and self.calls % self.fail_every == 0):
            return Response(b"<Error><Code>InternalError</Code></Error>", 500, media_type="application/xml")
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "expect"}}
        answer = await self._http.request(request.method, path, content=body, headers=headers)
        if request.method == "PUT" and answer.is_success and "x-amz-copy-source" not in headers:
            self.stored[request.url.path] += 1
        if self.muffled(request):
            self.muffled_one.set()
            await asyncio.sleep(_SILENCE_SECONDS)
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        return Response(answer.content, answer.status_code, headers=passed)

    @property
    def drawn(self) -> dict[str, int]:
        """How often the card of each content was stored."""
        return {path: count for path, count in self.stored.items() if "/by-content/" in path}


@asynccontextmanager
async def open_proxy(target: str) -> AsyncIterator[ServiceProxy]:
    """The proxy on a free port, in this process."""
    proxy = ServiceProxy(target)
    routes = [Route("/{path:path}", proxy.answer, methods=["GET", "HEAD", "PUT", "POST", "DELETE"])]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(Starlette(routes=routes), log_config=None, timeout_graceful_shutdown=_CLOSE_SECONDS)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield proxy
    finally:
        server.should_exit = True
        await serving
