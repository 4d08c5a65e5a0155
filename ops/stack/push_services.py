"""Stand-ins for Google's token endpoint, FCM and APNs: one process that speaks their protocols and checks what it gets.

    python -m ops.stack.push_services FOLDER PORT

FOLDER is what :func:`ops.stack.push_keys.make` fills. Everything is HTTP/2 over TLS; APNs takes nothing else, as the
real one. Beside the services there is a control side for tests:

- ``GET /received?token=…``: what was accepted for a device, or for all, oldest first; ``DELETE /received``
- ``PUT /behaviour``: how the next requests are answered, see :class:`Behaviour`; ``DELETE /behaviour``: as they deserve
- ``GET /grants``: how many access tokens were given; ``DELETE /grants`` revokes them all

What is kept is bounded: the last 20,000 notifications, 1,000 behaviours, 1,000 access tokens.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import hypercorn.asyncio.run
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypercorn.asyncio import serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ops.stack.push_checks import Accepted, Grants, Refused, apns_error, check_apns, check_fcm, fcm_error

_MOST_RECEIVED = 20_000
_MOST_BEHAVIOURS = 1_000
_TOKEN_SECONDS = 3_600.0
Address = tuple[str, int]


class Behaviour(BaseModel):
    """How the next *times* requests of *service* are answered: for one device *token*, or for all that have no other.

    First *delay* seconds pass. Then the connection is cut, "before" or "after" the notification is accepted, or told to
    go away ("goaway": GOAWAY, with this request not begun); or *status* and *reason* answer; or, with neither,
    it is answered as it deserves. *reason* is APNs' reason or FCM's ErrorCode, *field* what FCM says is at fault,
    *retry_after* the header, *expires_in* the life of access tokens.
    """

    model_config = ConfigDict(extra="forbid")

    service: Literal["google", "fcm", "apns"]
    token: str = ""
    times: int = 1
    delay: float = 0.0
    cut: Literal["", "before", "after", "goaway"] = ""
    status: int | None = None
    reason: str = ""
    field: str = ""
    retry_after: str | None = None
    expires_in: float = _TOKEN_SECONDS


# Never changed: only what is found under a key is counted down.
_AS_IT_DESERVES = Behaviour(service="google")


class Connections:
    """The connections that are open, by the client's address, so that they can be broken."""

    def __init__(self) -> None:
        self._servers: dict[Address, TCPServer] = {}
        connections = self

        class Known(TCPServer):
            async def run(self) -> None:
                address = self.writer.get_extra_info("peername")[:2]
                connections._servers[address] = self
                try:
                    await super().run()
                finally:
                    del connections._servers[address]

        # hypercorn has no way from a request to its connection.
        hypercorn.asyncio.run.TCPServer = Known  # type: ignore[attr-defined]

    def cut(self, client: Address) -> None:
        """Break the connection as a power cut would."""
        self._servers[client].writer.transport.abort()

    async def send_away(self, client: Address) -> None:
        """GOAWAY: the newest request was not begun, and there will be no others."""
        protocol = self._servers[client].protocol.protocol
        if isinstance(protocol, H2Protocol):
            newest = protocol.connection.highest_inbound_stream_id
            protocol.connection.close_connection(last_stream_id=max(0, newest - 2))
            await protocol._flush()
        self._servers[client].writer.close()


class Broken(Exception):
    """The connection is gone: there is nobody to answer."""


class PushServices:
    """The services and their control side; an ASGI application is made of it by :meth:`app`."""

    def __init__(self, folder: Path) -> None:
        account = json.loads((folder / "service-account.json").read_text())
        self._connections = Connections()
        self._grants = Grants(load_pem_private_key(account["private_key"].encode(), None).public_key())
        self._apns_key = load_pem_private_key((folder / "apns.p8").read_bytes(), None).public_key()
        self._received: deque[tuple[Accepted, float, Address]] = deque(maxlen=_MOST_RECEIVED)
        self._behaviours: OrderedDict[tuple[str, str], Behaviour] = OrderedDict()

    async def grant(self, request: Request) -> Response:
        """Google's token endpoint."""
        form = parse_qs((await request.body()).decode())
        behaviour = await self._behave(request, "google", "")
        if behaviour.status is not None:
            error = {"error": behaviour.reason, "error_description": behaviour.reason}
            return JSONResponse(error, behaviour.status, _retry_after(behaviour))
        return JSONResponse(self._grants.give(form, behaviour.expires_in))

    async def fcm(self, request: Request) -> Response:
        """``POST /v1/projects/{project}/messages:send``."""
        content = await request.body()
        accepted = check_fcm(request.headers, request.path_params["project"], content, self._grants)
        behaviour = await self._behave(request, "fcm", accepted.token)
        if behaviour.status is not None:
            error = fcm_error(behaviour.status, behaviour.reason, field=behaviour.field)
            return JSONResponse(error.body, error.status, _retry_after(behaviour))
        self._accept(request, accepted, behaviour)
        return JSONResponse({"name": f"projects/{request.path_params['project']}/messages/{time.time_ns()}"})

    async def apns(self, request: Request) -> Response:
        """``POST /3/device/{token}``."""
        if request.scope["http_version"] != "2":
            self._connections.cut(_client(request))
            raise Broken
        if request.method != "POST":
            raise apns_error(405, "MethodNotAllowed")
        content = await request.body()
        accepted = check_apns(request.headers.items(), request.path_params["token"], content, self._apns_key)
        behaviour = await self._behave(request, "apns", accepted.token)
        headers = {"apns-id": accepted.id}
        if behaviour.status is not None:
            error = apns_error(behaviour.status, behaviour.reason)
            return JSONResponse(error.body, error.status, headers | _retry_after(behaviour))
        self._accept(request, accepted, behaviour)
        return Response(status_code=200, headers=headers)

    async def control(self, request: Request) -> Response:
        """The control side."""
        answer: Any = {}
        match request.method, request.url.path:
            case "GET", "/received":
                answer = self._all_received(request.query_params.get("token"))
            case "DELETE", "/received":
                self._received.clear()
            case "PUT", "/behaviour":
                try:
                    behaviour = Behaviour.model_validate_json(await request.body())
                except ValidationError as error:
                    return Response(str(error), 400)
                self._behaviours[behaviour.service, behaviour.token] = behaviour
                while len(self._behaviours) > _MOST_BEHAVIOURS:
                    self._behaviours.popitem(last=False)
            case "DELETE", "/behaviour":
                self._behaviours.clear()
            case "GET", "/grants":
                answer = {"given": self._grants.given}
            case "DELETE", "/grants":
                self._grants.revoke()
            case "GET", "/healthz":
                pass
            case _:
                return Response(status_code=405)
        return JSONResponse(answer)

    def app(self) -> Starlette:
        """The application."""
        control = [Route(f"/{name}", self.control, methods=["GET", "PUT", "DELETE"]) for name in _CONTROLS]
        routes = [
            Route("/token", self.grant, methods=["POST"]),
            Route("/v1/projects/{project}/messages:send", self.fcm, methods=["POST"]),
            Route("/3/device/{token}", self.apns, methods=["GET", "POST", "PUT", "DELETE"]),
            *control,
        ]
        return Starlette(routes=routes, exception_handlers={Refused: _answer_refused, Broken: _answer_nobody})

    def _all_received(self, token: str | None) -> list[dict[str, Any]]:
        return [
            {
                "service": accepted.service,
                "token": accepted.token,
                "id": accepted.id,
                "title": accepted.title,
                "body": accepted.body,
                "collapse_id": accepted.collapse_id,
                "url": accepted.url,
                "expires_at": accepted.expires_at,
                "time": moment,
                "connection": client[1],
            }
            for accepted, moment, client in self._received
            if token is None or accepted.token == token
        ]

    async def _behave(self, request: Request, service: str, token: str) -> Behaviour:
        """How to answer, after the delay; raises :class:`Broken` where the connection goes before anything is done."""
        behaviour = None
        for key in ((service, token), (service, "")):
            behaviour = self._behaviours.get(key)
            if behaviour is not None:
                behaviour.times -= 1
                if behaviour.times <= 0:
                    del self._behaviours[key]
                break
        if behaviour is None:
            return _AS_IT_DESERVES
        await asyncio.sleep(behaviour.delay)
        if behaviour.cut == "before":
            self._connections.cut(_client(request))
            raise Broken
        if behaviour.cut == "goaway":
            await self._connections.send_away(_client(request))
            raise Broken
        return behaviour

    def _accept(self, request: Request, accepted: Accepted, behaviour: Behaviour) -> None:
        self._received.append((accepted, time.time(), _client(request)))
        if behaviour.cut == "after":
            self._connections.cut(_client(request))
            raise Broken


_CONTROLS = ("received", "behaviour", "grants", "healthz")


class _Silent(Response):
    """No answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


async def _answer_refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    return JSONResponse(refusal.body, refusal.status)


async def _answer_nobody(_: Request, __: Exception) -> Response:
    return _Silent()


def _client(request: Request) -> Address:
    assert request.client is not None
    return request.client.host, request.client.port


def _retry_after(behaviour: Behaviour) -> dict[str, str]:
    return {} if behaviour.retry_after is None else {"retry-after": behaviour.retry_after}


def configuration(folder: Path, port: int) -> Config:
    """hypercorn's, for 127.0.0.1."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = str(folder / "server.pem"), str(folder / "server.key")
    # Connections of many messages, such as the real services have; and none that a pause in a test ends.
    config.keep_alive_max_requests = sys.maxsize
    config.keep_alive_timeout = 3_600
    config.errorlog = "-"
    return config


async def main(folder: Path, port: int) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    services = PushServices(folder)
    await serve(services.app(), configuration(folder, port), shutdown_trigger=ended.wait)  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
