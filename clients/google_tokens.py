"""Access tokens of a Google service account: fetched by google-auth in a thread, once for all who wait."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import orjson
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport import Request
from google.oauth2.service_account import Credentials

from clients.faults import Unavailable

# google-auth tries three times by itself.
_TRY_SECONDS = 5.0


class AccessTokens:
    """Tokens for one service account and one scope. Raises :class:`ValueError`, naming *setting*, for a bad file."""

    def __init__(self, path: str, scope: str, trust: ssl.SSLContext, setting: str) -> None:
        try:
            account = orjson.loads(Path(path).read_bytes())
            self._credentials: Any = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                account, scopes=[scope]
            )
            self.project: str = account["project_id"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, GoogleAuthError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{setting}: {path} is no JSON file of a service account: {what}") from error
        self._http = httpx.Client(verify=trust, timeout=_TRY_SECONDS)
        self._refreshing: asyncio.Task[str | None] | None = None

    async def get(self, refused: str | None = None) -> str:
        """A token that is not *refused*; raises :class:`clients.faults.Unavailable` where there is none to be had.

        Near its end (google-auth: 225 s before) the old one still serves while another is fetched.
        """
        useless = self._credentials.token == refused
        state = self._credentials.token_state
        if useless or state is not TokenState.FRESH:
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(self._refresh())
            if useless or state is TokenState.INVALID:
                # Whoever gives up waiting must not stop it for the others.
                fault = await asyncio.shield(self._refreshing)
                if fault:
                    raise Unavailable("the push service", fault)
        return str(self._credentials.token)

    async def close(self) -> None:
        """Let go of the connection, once a fetch under way has ended."""
        if self._refreshing is not None:
            await self._refreshing
        self._http.close()

    async def _refresh(self) -> str | None:
        """What went wrong, if anything did."""
        try:
            await asyncio.to_thread(self._credentials.refresh, _Transport(self._http))
        except Exception as error:  # google-auth lets what its parsing stumbles over through as it is
            return f"no access token: {type(error).__name__}: {str(error)[:200]}"
        finally:
            self._refreshing = None
        return None


class _Transport(Request):
    """google-auth's way to the token endpoint, by the same TLS trust as everything else."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        try:
            return _Response(self._client.request(method, url, content=body, headers=headers))
        except httpx.HTTPError as error:
            what = f"{url}: {type(error).__name__}: {error}"
            raise TransportError(what) from error  # type: ignore[no-untyped-call]


class _Response:
    """An answer in the form that google-auth reads (google.auth.transport.Response)."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.data = answer.content
