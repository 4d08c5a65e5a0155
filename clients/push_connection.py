"""HTTP/2 to a push service, so that a connection which is lost or silent costs nobody a message."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import httpx

from clients.faults import Unavailable
from clients.push_gateway import Answer, Verdict

# A service closes a connection that idles for long, and httpx would only notice with the next message.
_IDLE_SECONDS = 120.0


@dataclass(slots=True)
class _Line:
    """One client with one connection, and how many requests are on it."""

    client: httpx.AsyncClient
    requests: int = 0
    retired: bool = False


class PushConnection:
    """Posts to one service; all requests share one HTTP/2 connection.

    A connection on which a request failed or got no answer in time takes no new ones: they go over a fresh one, while
    those under way may still end well. Without that, a connection that a firewall has forgotten would take message
    after message until TCP gives it up, a quarter of an hour later.
    """

    def __init__(self, endpoint: str, trust: ssl.SSLContext) -> None:
        self._endpoint = endpoint
        self._trust = trust
        self._line = self._open()

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The service's answer, whatever its status; raises ``Unavailable``. The caller limits the time."""
        line = self._line
        line.requests += 1
        try:
            return await line.client.post(path, content=content, headers=headers)
        except Exception as error:  # httpx lets some errors of the libraries below it through as they are
            self._retire(line)
            raise Unavailable(
                "the push service", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            ) from error
        except asyncio.CancelledError:
            self._retire(line)
            raise
        finally:
            line.requests -= 1
            await self._close_if_done(line)

    async def close(self) -> None:
        """Close the connection, under requests that are still on it."""
        await self._line.client.aclose()

    def _open(self) -> _Line:
        return _Line(
            httpx.AsyncClient(
                base_url=self._endpoint,
                verify=self._trust,
                http1=False,
                http2=True,
                # The caller limits the time: httpx's own limit would end every request on the connection with one.
                timeout=None,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS),
            )
        )

    def _retire(self, line: _Line) -> None:
        line.retired = True
        if line is self._line:
            self._line = self._open()

    async def _close_if_done(self, line: _Line) -> None:
        if line.retired and not line.requests:
            await line.client.aclose()


def trust(ca_file: str | None, setting: str) -> ssl.SSLContext:
    """TLS that believes the system's authorities, or those in *ca_file* alone; raises :class:`ValueError`."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ValueError(f"{setting}: {ca_file} is no file of PEM certificates ({error})") from error


async def within(seconds: float, sending: Awaitable[Answer]) -> Answer:
    """What *sending* says, or "later" where it gets no answer in time, or none at all."""
    try:
        async with asyncio.timeout(seconds):
            return await sending
    except TimeoutError:
        return Answer(Verdict.LATER, f"no answer within {seconds:g} s")
    except Unavailable as fault:
        return Answer(Verdict.LATER, str(fault))
