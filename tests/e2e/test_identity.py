"""Links, limits, keys and pages as strangers use them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import async_playwright

from .conftest import BROWSER, Owner, Product, chromium, eventually

VIEWS = "SELECT view_count FROM wishlist_shares WHERE share_token = $1"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("after", ["/", "%20", ".", ")", "%3E", "%E2%80%9D", "/?utm_source=mail", ").?fbclid=x"])
def test_a_link_with_marks_leads_to_the_page(client: httpx.Client, share: str, after: str, method: str) -> None:
    moved = client.request(method, f"/wishlists/shared/{share}{after}")
    query = after.partition("?")[2]
    assert moved.status_code == 301
    assert moved.headers["location"] == f"/wishlists/shared/{share}" + (f"?{query}" if query else "")
    assert client.request(method, moved.headers["location"]).status_code == 200


def test_a_marked_link_tells_nothing_about_its_share(client: httpx.Client, share: str) -> None:
    there, nowhere = (client.get(f"/wishlists/shared/{token}/") for token in (share, "A" * 22))
    assert (nowhere.status_code, nowhere.headers["location"]) == (301, "/wishlists/shared/" + "A" * 22)
    assert there.status_code == 301
    assert client.get("/wishlists/shared/" + "A" * 21 + "/").status_code == 404


def test_a_wrong_method_names_get(client: httpx.Client, share: str) -> None:
    answer = client.post(f"/api/v2/wishlists/shared/{share}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_addresses_come_from_settings_and_never_from_the_sender(client: httpx.Client, product: Product) -> None:
    answer = client.get(
        "/v1/projects/development/settings", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    )
    scheme, _, host = product.api.partition("://")
    destination = answer.json()["integrations"]["Segment.io"]
    assert (destination["protocol"], destination["apiHost"]) == (scheme, f"{host}/v1")


def test_a_key_whose_body_was_refused_can_be_used_again(client: httpx.Client, owner: Owner) -> None:
    headers = {**owner.headers, "Idempotency-Key": uuid4().hex}

    def make(**body: object) -> httpx.Response:
        return client.post(owner.shares, json={"channel": "email", **body}, headers=headers)

    for bad in ({"hidden_items": ["item_of_nobody"]}, {"hidden_items": 1}, {"expires_in_days": 8}):
        assert make(**bad).status_code == 422
    made = make()
    assert made.status_code == 201
    again = make()
    assert (again.status_code, again.json()) == (201, made.json())
    other = make(message="another request")
    assert (other.status_code, other.json()["error"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_sixty_page_views_a_minute_pass_from_one_address(client: httpx.Client, share: str) -> None:
    seen = set()
    for _ in range(60):
        seen.add(client.get(f"/wishlists/shared/{share}").status_code)
        beacon = client.post(f"/api/v2/wishlists/shared/{share}/views", json={"page_view_id": str(uuid4())})
        seen.add(beacon.status_code)
    assert seen == {200, 204}
    assert client.get(f"/wishlists/shared/{share}").status_code == 429


@pytest.mark.parametrize("stored", ["expired", "not.a.token"])
def test_an_expired_sign_in_counts_as_anonymous_and_offers_to_sign_in_again(
    product: Product, share: str, stored: str
) -> None:
    async def visit() -> tuple[list[int], str, str | None]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = await browser.new_page(user_agent=BROWSER)
            await page.add_init_script(f"localStorage.setItem('vantage.jwt', {stored!r})")
            statuses: list[int] = []
            page.on("response", lambda answer: statuses.append(answer.status) if "/views" in answer.url else None)
            await page.goto(f"{product.api}/wishlists/shared/{share}")
            link = page.locator("#said a")
            await link.wait_for()
            while len(statuses) < 2:
                await page.wait_for_timeout(20)
            kept = await page.evaluate("localStorage.getItem('vantage.jwt')")
            href = await link.get_attribute("href") or ""
            await browser.close()
            return statuses, href, kept

    statuses, href, kept = asyncio.run(visit())
    assert statuses == [401, 204]
    assert "/login?next=" in href
    assert kept is None
    eventually(lambda: [row[0] for row in product.sql(VIEWS, share)] == [1])
