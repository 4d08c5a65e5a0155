"""The control side of the push services' stand-ins (``ops/stack/push_services.py``)."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import httpx

from clients.push_connection import trust
from config.settings import FcmSettings

Service = Literal["google", "fcm", "apns"]


class PushServices:
    """Tells the stand-ins of the running stack how to answer, and asks them what they got."""

    def __init__(self) -> None:
        settings = FcmSettings()
        self._http = httpx.AsyncClient(
            base_url=settings.endpoint, verify=trust(settings.ca_file, "FCM_CA_FILE"), http2=True, timeout=60
        )

    async def received(self, token: str | None = None) -> list[dict[str, Any]]:
        """What was accepted for one device, or for all; oldest first."""
        answer = await self._call("GET", "/received", params={} if token is None else {"token": token})
        received: list[dict[str, Any]] = answer.json()
        return received

    async def behave(self, service: Service, token: str = "", **how: Any) -> None:
        """Answer the next request so; fields are those of ``ops.stack.push_services.Behaviour``."""
        await self._call("PUT", "/behaviour", json={"service": service, "token": token, **how})

    async def behave_well(self) -> None:
        """Answer everything as it deserves."""
        await self._call("DELETE", "/behaviour")

    async def grants(self) -> int:
        """How many access tokens Google gave out."""
        given: int = (await self._call("GET", "/grants")).json()["given"]
        return given

    async def revoke_grants(self) -> None:
        """No access token is good any more."""
        await self._call("DELETE", "/grants")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._http.aclose()

    async def _call(self, method: str, path: str, **what: Any) -> httpx.Response:
        answer = await self._http.request(method, path, **what)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


def device_token(service: Service) -> str:
    """A token that no other device has, in the service's form."""
    return secrets.token_hex(32) if service == "apns" else f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_hex(48)}"
