"""Segment's own library, and a page's way of sending, with nothing but the host changed; and what BigQuery has then."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from playwright.sync_api import sync_playwright
from segment.analytics import Client

from tests.e2e.conftest import Owner, Product, chromium, eventually

KEY = "development"
# As npm has it (MIT).
LIBRARY = Path(__file__).parent / "assets" / "analytics-next-1.84.3.min.js"


@pytest.fixture(scope="module")
def warehouse(product: Product) -> bigquery.Client:
    """Google's own client of the product's BigQuery."""
    return bigquery.Client(
        "wishlist-social",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=product.bigquery),
    )


def rows(warehouse: bigquery.Client, table: str, where: str, *values: str) -> list[dict[str, Any]]:
    """The rows of *table* under *where*, whose question marks are *values*."""
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter(None, "STRING", value) for value in values]
    )
    found = warehouse.query(f"SELECT * FROM `wishlist_social.{table}` WHERE {where}", job_config=config).result()
    return [dict(row) for row in found]


def test_segments_python_library_unchanged(product: Product, warehouse: bigquery.Client) -> None:
    user, failures = f"user_{uuid4().hex[:12]}", []
    client = Client(KEY, host=product.api, on_error=lambda error, batch: failures.append(error), gzip=True)
    properties = {"variant": "variant-a", "platform": "mobile", "wishlist_item_count": 9}
    client.identify(user, {"email": "someone@example.com", "country": "DE", "account_type": "customer"})
    client.track(user, "share_button_viewed", properties)
    client.track(user, "share_initiated", {**properties, "share_channel": "whatsapp"})
    client.page(user, "Wishlists", "Overview")
    client.flush()
    client.join()
    assert not failures
    eventually(lambda: len(rows(warehouse, "segment_messages_once", "user_id = ?", user)) == 4)
    [seen] = rows(warehouse, "share_button_viewed", "user_id = ?", user)
    assert (seen["variant"], seen["platform"], seen["wishlist_item_count"]) == ("variant-a", "mobile", 9)
    assert seen["context_library_name"] == "analytics-python"
    assert abs((datetime.now(UTC) - seen["timestamp"]).total_seconds()) < 60
    [begun] = rows(warehouse, "share_initiated", "user_id = ?", user)
    assert begun["share_channel"] == "whatsapp"
    [known] = rows(warehouse, "users", "id = ?", user)
    assert (known["country"], known["account_type"]) == ("DE", "customer")
    assert {row["event"] for row in rows(warehouse, "tracks", "user_id = ?", user)} == {
        "share_button_viewed",
        "share_initiated",
    }


def test_a_share_is_completed_once_whoever_says_so(
    client: httpx.Client, owner: Owner, warehouse: bigquery.Client
) -> None:
    headers = {**owner.headers, "X-Experiment-Variant": "variant-b"}
    token = client.post(owner.shares, json={"channel": "email"}, headers=headers).json()["share_token"]
    page_view = str(uuid4())
    client.get(f"/api/v2/wishlists/shared/{token}", params={"page_view_id": page_view}).raise_for_status()
    # The page says the same, as analytics.js sends it: plain text, the key in the body, calls by their first letter.
    for name, message_id, properties in (
        ("share_completed", f"share_completed-{token}", {"variant": "variant-b", "share_channel": "email"}),
        ("share_link_clicked", f"share_link_clicked-{page_view}", {"is_authenticated": False}),
    ):
        body = {
            "writeKey": KEY, "messageId": message_id, "event": name, "userId": owner.user, "type": "track",
            "timestamp": datetime.now(UTC).isoformat(), "sentAt": datetime.now(UTC).isoformat(),
            "properties": {**properties, "platform": "web", "share_token": token},
        }  # fmt: skip
        answer = client.post("/v1/t", content=json.dumps(body), headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert answer.headers["access-control-allow-origin"] == "*"

    def both_there() -> bool:
        return bool(rows(warehouse, "share_completed", "share_token = ?", token)) and bool(
            rows(warehouse, "share_link_clicked", "share_token = ?", token)
        )

    eventually(both_there)
    time.sleep(5)  # the other copy has had its time by now
    [completed] = rows(warehouse, "segment_messages", "event_date > '2020-01-01' AND event = 'share_completed' "
                       "AND share_token = ?", token)  # fmt: skip
    assert (completed["user_id"], completed["variant"]) == (owner.user, "variant-b")
    [clicked] = rows(warehouse, "segment_messages", "event_date > '2020-01-01' AND event = 'share_link_clicked' "
                     "AND share_token = ?", token)  # fmt: skip
    assert clicked["is_authenticated"] is False


def test_segments_javascript_library_unchanged(product: Product, warehouse: bigquery.Client, tmp_path: Path) -> None:
    """analytics.js 1.84.3 of npm, in Chromium, on a page of another site."""
    user = f"user_{uuid4().hex[:12]}"
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<script>{LIBRARY.read_text()}</script>")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.evaluate(
            """async ([host, key, user]) => {
                const analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: host });
                await analytics.identify(user, { country: "AT", email: "someone@example.com" });
                const properties = { variant: "variant-b", platform: "web", wishlist_item_count: 9 };
                await analytics.track("share_button_viewed", properties);
                await analytics.track("share_initiated", { ...properties, share_channel: "email" });
            }""",
            [product.api, KEY, user],
        )
        eventually(lambda: len(rows(warehouse, "segment_messages_once", "user_id = ?", user)) == 3)
        browser.close()
    [begun] = rows(warehouse, "share_initiated", "user_id = ?", user)
    assert (begun["variant"], begun["share_channel"], begun["wishlist_item_count"]) == ("variant-b", "email", 9)
    assert (begun["context_library_name"], begun["context_library_version"]) == ("analytics.js", "next-1.84.3")
    assert begun["anonymous_id"] and "Chrome" in begun["context_user_agent"]
    assert [person["country"] for person in rows(warehouse, "users", "id = ?", user)] == ["AT"]
    assert httpx.get(f"{product.api}/v1/projects/nobody/settings").status_code == 404


def test_who_has_no_write_key_is_not_heard(client: httpx.Client) -> None:
    message = {"type": "track", "userId": "u", "event": "share_initiated"}
    none, nobody = httpx.Auth(), httpx.BasicAuth("nobody", "")
    for auth, key in ((none, None), (nobody, None), (none, "nobody"), (none, 7)):
        answer = client.post("/v1/batch", json={"batch": [message], "writeKey": key}, auth=auth)
        assert answer.status_code == 401
        assert "write key" in answer.json()["message"]
    broken = client.post("/v1/batch", json={"batch": []}, headers={"Authorization": "Basic ???"})
    assert broken.status_code == 401


def test_bad_messages_are_named_and_the_good_ones_taken(client: httpx.Client, warehouse: bigquery.Client) -> None:
    user = f"user_{uuid4().hex[:12]}"
    good = {"type": "track", "userId": user, "event": "share_initiated"}
    bad = {**good, "properties": {"platform": "tv"}}
    answer = client.post("/v1/batch", json={"batch": [bad, good, 7]}, auth=(KEY, ""))
    assert answer.status_code == 400
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (1, 2)
    assert [detail["field"] for detail in body["details"]] == ["batch[0].properties.platform", "batch[2].message"]
    assert "web, mobile" in body["message"]
    eventually(lambda: len(rows(warehouse, "tracks", "user_id = ?", user)) == 1)


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{", {}, 400, "is not JSON"),
        (b"[]", {}, 400, "is not a JSON object"),
        (b'{"writeKey": "development"}', {}, 400, "batch: is not a list"),
        (b"plain", {"Content-Encoding": "gzip"}, 400, "is not gzip"),
        (b" " * 600_000, {}, 413, "several batches"),
        (gzip.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"}, 413, "several batches"),
    ],
)
def test_a_bad_body_is_told_what_to_send(
    client: httpx.Client, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = client.post("/v1/batch", content=content, headers=headers, auth=(KEY, ""))
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_a_page_of_another_site_may_ask(client: httpx.Client) -> None:
    answer = client.options(
        "/v1/t", headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    unknown = client.post("/v1/unknown", json={}, auth=(KEY, ""))
    assert unknown.status_code == 404
    assert "track" in unknown.json()["message"]
