"""Pages of the shop's sites may call /api/v2, others may not."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from api.cors import with_cors

SHOP = "https://www.vantage.com"
APP = PlainTextResponse("answer", headers={"X-Request-ID": "1"})


async def ask(origins: str, method: str, path: str, **headers: str) -> httpx.Response:
    app = with_cors(APP, origins)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        return await client.request(method, path, headers=sent)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_page_of_the_shop_may_ask_first(method: str) -> None:
    answer = await ask(
        f"https://m.vantage.com, {SHOP}",
        "OPTIONS",
        "/api/v2/me",
        origin=SHOP,
        access_control_request_method=method,
        access_control_request_headers="authorization, content-type, idempotency-key",
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert method in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_it_reads_the_answer_and_its_limits() -> None:
    answer = await ask(SHOP, "GET", "/api/v2/me", origin=SHOP)
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://www.vantage.com", SHOP + ".evil.example", SHOP + ":444"]
)
async def test_other_sites_do_not(origin: str) -> None:
    assert "access-control-allow-origin" not in (await ask(SHOP, "GET", "/api/v2/me", origin=origin)).headers


@pytest.mark.parametrize(("origins", "path"), [("", "/api/v2/me"), (SHOP, "/wishlists/shared/x"), (SHOP, "/v1/t")])
async def test_elsewhere_and_without_the_setting_nothing_is_added(origins: str, path: str) -> None:
    answer = await ask(origins, "GET", path, origin=SHOP)
    assert answer.text == "answer"
    assert "access-control-allow-origin" not in answer.headers
