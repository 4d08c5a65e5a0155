"""One call of a webhook by the Standard Webhooks specification: signed, to a public address, and soon over."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

import httpcore
from standardwebhooks import Webhook

from clients.logs import get_logger
from clients.public_network import PublicNetwork, Refused, Resolve, is_public, resolver
from clients.retry_after import retry_after
from config.settings import WebhookSettings

LONGEST_URL = 2_000
_EXPECTED = (Refused, OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_READ_BYTES = 4_096
_READ_SECONDS = 1.0


class BadUrl(Exception):
    """No webhook can be there; *problem* and *remedy* in words."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: the receiver's *status*, or None, and why. *retry_after* is in seconds."""

    status: int | None
    reason: str
    retry_after: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more calls, ever."""
        return self.status == 410


def check_url(url: str, settings: WebhookSettings) -> None:
    """Raises :class:`BadUrl` where *settings* allow no webhook. What a name leads to shows when it is called."""
    example = "Send a URL such as https://example.com/hooks/wishlist"
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise BadUrl(f"is longer than {LONGEST_URL} characters, or has others than printable ASCII", example)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadUrl("is not a URL", example) from None
    if not host:
        raise BadUrl("is not a URL with a host", example)
    if parts.scheme not in ({"https", "http"} if settings.allow_private else {"https"}):
        raise BadUrl("is not an https URL", example)
    if "@" in parts.netloc or parts.fragment:
        raise BadUrl("names a user or a fragment", "Leave them out; calls are signed instead")
    if not settings.allow_private and _is_address(host) and not is_public(host):
        raise BadUrl("is not at a public address", "Send the URL of a server that can be reached from the internet")


class WebhookCaller:
    """Calls webhooks. *resolve*, *network* and *tls* are for tests."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        # Threads of calls that have timed out end later.
        public = PublicNetwork(resolve or resolver(2 * settings.at_once), network)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            # Each call finds its address anew.
            max_keepalive_connections=0,
            network_backend=network if settings.allow_private else public,
        )

    async def call(self, url: str, secrets: Sequence[str], delivery_id: UUID, body: str) -> Answer:
        """POST *body*, signed with each of *secrets*. Redirects are answers like others: they are not followed."""
        now = datetime.now(UTC)
        signatures = (Webhook(secret).sign(str(delivery_id), now, body) for secret in secrets)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "wishlist-social-webhook",
            "webhook-id": str(delivery_id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        seconds = self._settings.timeout_seconds
        try:
            check_url(url, self._settings)
            async with (
                asyncio.timeout(seconds),
                self._pool.stream("POST", url, headers=list(headers.items()), content=body.encode()) as response,
            ):
                await _read_a_little(response)
                return _answer(response)
        except TimeoutError:
            return Answer(None, f"no answer within {seconds:g} s")
        except BadUrl as error:
            return Answer(None, f"url {error.problem}")
        except _EXPECTED as error:
            return Answer(None, str(error) or "the connection was lost")
        except Exception as error:  # a stranger's answer leads to more errors than the library names
            get_logger().exception("a webhook call met an unexpected error")
            return Answer(None, f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


async def _read_a_little(response: httpcore.Response) -> None:
    """Let the receiver finish a short answer; what it says beyond the status is nothing to us."""
    read = 0
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > _READ_BYTES:
                    return


def _answer(response: httpcore.Response) -> Answer:
    asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return Answer(response.status, f"status {response.status}", retry_after(asked.decode("latin-1")) or 0.0)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
