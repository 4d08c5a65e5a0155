"""The API of a lab, as a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from config.settings import AuthSettings
from ops.tokens import signer
from tests.lab import Lab, eventually, free_port

VISITOR = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/117.0 Safari/537.36"}
# Nobody is in these tests' way.
_LIMITS = {
    "API_SHARE_LIMIT_PER_HOUR": "1000000",
    "API_LOOKUP_LIMIT_PER_MINUTE": "1000000",
    "API_FALLBACK_LIMIT_PER_MINUTE": "1000000",
}


def signed_in(user: str) -> dict[str, str]:
    """Headers of a browser in which *user* is signed in."""
    return {"Authorization": f"Bearer {signer(AuthSettings())(user)}", **VISITOR}


@asynccontextmanager
async def open_api(lab: Lab, user: str = "user_maya", **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """Start it with *settings*, and stop it at the block's end; the client is signed in as *user*."""
    port = free_port()
    process = lab.start("api", module="api", API_PORT=port, **_LIMITS, **settings)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=signed_in(user), timeout=30) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, 60, "the API is ready")
        try:
            yield client
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)
