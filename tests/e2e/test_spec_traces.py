"""The spec's nine HTTP traces, in their order (DESIGN 6 says where the product differs, and why)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from .conftest import SEEN, Owner, Product, eventually

WHATSAPP = "WhatsApp/2.23.20 (iPhone; iOS 17.0)"
JSON = "application/json; charset=utf-8"
ERROR_FIELDS = {"error", "message", "request_id"}


@pytest.fixture(scope="module")
def maya(product: Product) -> Owner:
    """The traces' owner."""
    return product.new_owner()


@pytest.fixture(scope="module")
def reader(product: Product) -> str:
    """The traces' recipient, with a list of their own."""
    user = product.new_user()
    product.sql(
        "INSERT INTO wishlists (public_id, owner_id, title) "
        "SELECT 'wl_of_' || public_id, id, 'Mine' FROM users WHERE public_id = $1",
        user,
    )
    return user


@pytest.fixture(scope="module")
def created(product: Product, maya: Owner) -> httpx.Response:
    """The first trace's answer."""
    body = {"channel": "copy_link", "expires_in_days": 30, "hidden_items": [maya.items["prod_abc123"]]}
    headers = {**maya.headers, "X-Request-ID": "req_ws_001_share"}
    return httpx.post(f"{product.api}{maya.shares}", json=body, headers=headers, timeout=20)


@pytest.fixture(scope="module")
def token(product: Product, maya: Owner, created: httpx.Response) -> str:
    """The first trace's share; one item leaves the list before anyone views it."""
    assert created.status_code == 201, created.text
    item = maya.items["prod_removed"]
    product.sql("UPDATE wishlist_items SET removed_at = now() WHERE public_id = $1", item)
    share: str = created.json()["share_token"]
    return share


def test_1_share_is_created(created: httpx.Response) -> None:
    assert created.status_code == 201
    assert created.headers["content-type"] == JSON
    assert created.headers["x-request-id"] == "req_ws_001_share"
    assert created.headers["x-trace-id"].startswith("trace_")
    assert created.headers["x-ratelimit-limit"] == "20"
    assert created.headers["x-ratelimit-remaining"] == "19"
    assert 3_590 <= int(created.headers["x-ratelimit-reset"]) - time.time() <= 3_610
    body = created.json()
    token = body["share_token"]
    assert re.fullmatch(r"[0-9A-Za-z]{22}", token)
    assert body["share_url"].endswith(f"/wishlists/shared/{token}")
    assert body["preview_image_url"].endswith(f"/social/{token}/preview.png")
    assert (body["item_count"], body["hidden_items_count"]) == (8, 1)
    assert re.fullmatch(r"share_[0-9a-f]{12}", body["share_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["expires_at"])
    life = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < life <= timedelta(days=30)


def test_2_page_is_served_to_a_link_preview_fetcher(client: httpx.Client, token: str) -> None:
    headers = {"User-Agent": WHATSAPP, "Accept": "text/html", "X-Request-ID": "req_ws_002_view"}
    answer = client.get(f"/wishlists/shared/{token}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["x-request-id"] == "req_ws_002_view"
    tags = dict(re.findall(r'<meta (?:property|name)="((?:og|twitter):[a-z:]+)" content="([^"]*)"', answer.text))
    assert tags["og:type"] == "product.group"
    assert tags["og:title"] == "Maya C.'s Wishlist: Holiday Gift Ideas 2025"
    assert tags["og:description"] == "7 items on Maya C.'s wishlist"
    assert f"/social/{token}/preview.png" in tags["og:image"]
    assert (tags["og:image:width"], tags["og:image:height"]) == ("1200", "630")
    assert tags["og:url"].endswith(f"/wishlists/shared/{token}")
    assert tags["twitter:card"] == "summary_large_image"
    assert tags["twitter:title"] == "Maya C.'s Wishlist"
    assert tags["twitter:description"] == "Check out 7 items!"
    assert tags["twitter:image"] == tags["og:image"]


def test_3_list_is_looked_up(client: httpx.Client, product: Product, reader: str, token: str) -> None:
    headers = {**product.sign_in(reader), "X-Request-ID": "req_ws_003_api"}
    answer = client.get(f"/api/v2/wishlists/shared/{token}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert answer.headers["x-request-id"] == "req_ws_003_api"
    body = answer.json()
    assert (body["can_add_to_own_list"], body["is_authenticated"]) == (True, True)
    wishlist = body["wishlist"]
    assert wishlist["title"] == "Holiday Gift Ideas 2025"
    assert wishlist["owner_display_name"] == "Maya C."
    assert wishlist["item_count"] == 7
    assert wishlist["created_at"] == "2025-08-20T14:30:00Z"
    assert wishlist["total_value"] == 1577.47
    assert wishlist["currency"] == "USD"
    assert [item["product_id"] for item in wishlist["items"]] == [f"prod_{suffix}" for suffix in SEEN]
    assert wishlist["items"][0] == {
        "product_id": "prod_1a2b3c",
        "name": "Wireless Noise-Canceling Headphones",
        "price": 249.99,
        "currency": "USD",
        "image_url": "https://cdn.vantage.com/products/prod_1a2b3c/thumb.jpg",
        "in_stock": True,
    }
    assert wishlist["items"][3]["in_stock"] is False
    assert "share_view_count" not in wishlist


def test_3_only_the_owner_sees_the_view_count(client: httpx.Client, maya: Owner, token: str) -> None:
    path = f"/api/v2/wishlists/shared/{token}"
    anonymous = client.get(path).json()
    assert (anonymous["can_add_to_own_list"], anonymous["is_authenticated"]) == (False, False)
    assert "share_view_count" not in anonymous["wishlist"]

    def views() -> Any:
        return client.get(path, headers=maya.headers).json()["wishlist"]["share_view_count"]

    # The reader's and the anonymous look-up; neither the fetcher's page nor the owner's own looks.
    eventually(lambda: views() == 2)
    assert views() == 2


def test_4_item_is_added(client: httpx.Client, product: Product, reader: str, token: str) -> None:
    body = {"product_id": "prod_1a2b3c", "source": "shared_wishlist", "source_token": token}
    headers = {**product.sign_in(reader), "X-Request-ID": "req_ws_004_add"}
    answers = [client.post("/api/v2/wishlists/my/items", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].headers["x-request-id"] == "req_ws_004_add"
    added = answers[0].json()
    assert answers[1].json() == added, "a double click is one item"
    assert re.fullmatch(r"wli_[0-9a-z]+", added["wishlist_item_id"])
    assert added["product_id"] == "prod_1a2b3c"
    assert added["wishlist_id"] == f"wl_of_{reader}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", added["added_at"])
    found = "SELECT 1 FROM wishlist_items i JOIN wishlists w ON w.id = i.wishlist_id WHERE w.public_id = $1"
    eventually(lambda: len(product.sql(found, f"wl_of_{reader}")) == 1)


def test_5_too_many_shares_are_refused(client: httpx.Client, owner: Owner) -> None:
    body = {"channel": "email", "expires_in_days": 7}
    headers = {**owner.headers, "X-Request-ID": "req_ws_005_ratelimit"}
    answers = [client.post(owner.shares, json=body, headers=headers) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429]
    remaining = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
    assert remaining == [*range(19, -1, -1), 0]
    refused = answers[-1]
    wait = int(refused.headers["retry-after"])
    assert 3_500 <= wait <= 3_600
    assert refused.json() == {
        "error": "RATE_LIMIT_EXCEEDED",
        "message": "Share rate limit exceeded. Maximum 20 shares per hour.",
        "retry_after_seconds": wait,
        "request_id": "req_ws_005_ratelimit",
    }
    assert abs(int(refused.headers["x-ratelimit-reset"]) - time.time() - wait) <= 3


def test_6_and_7_link_is_revoked(client: httpx.Client, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}"
    assert client.get(f"/wishlists/shared/{share}").status_code == 200
    revoked = client.delete(path, headers={**owner.headers, "X-Request-ID": "req_ws_006_revoke"})
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert revoked.headers["x-request-id"] == "req_ws_006_revoke"
    page = client.get(f"/wishlists/shared/{share}", headers={"X-Request-ID": "req_ws_007_revoked"})
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-request-id"] == "req_ws_007_revoked"
    assert "This shared wishlist is no longer available" in page.text
    assert client.get(f"/api/v2/wishlists/shared/{share}").status_code == 404
    assert client.delete(path, headers=owner.headers).status_code == 204, "revoking twice is no error"


def test_8_unknown_list_is_not_found(client: httpx.Client, owner: Owner) -> None:
    headers = {**owner.headers, "X-Request-ID": "req_ws_008_notfound"}
    body = {"channel": "copy_link", "expires_in_days": 7}
    answer = client.post("/api/v2/wishlists/wl_nonexistent/share", json=body, headers=headers)
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "WISHLIST_NOT_FOUND",
        "message": "Wishlist wl_nonexistent does not exist or you do not have access",
        "request_id": "req_ws_008_notfound",
    }


def test_9_other_peoples_list_is_forbidden(client: httpx.Client, owner: Owner) -> None:
    headers = {**owner.headers, "X-Request-ID": "req_ws_009_forbidden"}
    body = {"channel": "copy_link", "expires_in_days": 30}
    answer = client.post("/api/v2/wishlists/wl_other_user_list/share", json=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {
        "error": "FORBIDDEN",
        "message": "You can only share wishlists you own",
        "request_id": "req_ws_009_forbidden",
    }
    assert set(answer.json()) == ERROR_FIELDS
