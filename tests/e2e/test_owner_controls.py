"""What an owner can do with a share after it is made: list, hide, extend, freeze, retry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx

from .conftest import Owner, Product, eventually


def _products(client: httpx.Client, token: str) -> list[str]:
    body = client.get(f"/api/v2/wishlists/shared/{token}").json()
    return [item["product_id"] for item in body["wishlist"]["items"]]


def test_a_share_is_listed_at_once(client: httpx.Client, owner: Owner, share: str) -> None:
    listed = client.get(f"/api/v2/wishlists/{owner.wishlist}/shares", headers=owner.headers).json()
    assert [entry["share_token"] for entry in listed["shares"]] == [share]
    assert listed["shares"][0]["status"] == "active"


def test_an_item_is_hidden_and_shown(client: httpx.Client, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}/items/{owner.items['prod_4d5e6f']}"
    for _ in range(3):
        assert client.put(path, json={"visible": False}, headers=owner.headers).status_code == 200
        assert "prod_4d5e6f" not in _products(client, share)
        assert client.put(path, json={"visible": True}, headers=owner.headers).status_code == 200
        assert "prod_4d5e6f" in _products(client, share)


def test_expiry_is_changed(client: httpx.Client, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}"
    changed = client.patch(path, json={"expires_in_days": None}, headers=owner.headers)
    assert changed.status_code == 200
    eventually(lambda: client.get(path, headers=owner.headers).json()["expires_at"] is None)


def test_an_expiry_that_came_first_stands(client: httpx.Client, product: Product, owner: Owner, share: str) -> None:
    eventually(lambda: product.sql("SELECT FROM wishlist_shares WHERE share_token = $1", share))
    # The sweep has the row, and holds it: the owner's change finds the share open, and then waits for the row.
    expire = (
        "WITH one AS (UPDATE wishlist_shares SET expired_at = now() WHERE share_token = $1 RETURNING 1) "
        "SELECT pg_sleep(1.5) FROM one"
    )
    with ThreadPoolExecutor(1) as pool:
        expiring = pool.submit(product.sql, expire, share)
        eventually(lambda: product.sql("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        changed = client.patch(
            f"/api/v2/wishlists/{owner.wishlist}/shares/{share}", json={"expires_in_days": 30}, headers=owner.headers
        )
        expiring.result()
    assert (changed.status_code, changed.json()["error"]) == (409, "SHARE_CLOSED")
    assert client.get(f"/api/v2/wishlists/shared/{share}").status_code == 404


def test_a_snapshot_leaves_later_items_out(client: httpx.Client, product: Product, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}"
    eventually(lambda: client.patch(path, json={"snapshot": True}, headers=owner.headers).status_code == 200)
    product.add_item(owner, "prod_ki001")
    assert "prod_ki001" not in _products(client, share)
    assert client.patch(path, json={"snapshot": False}, headers=owner.headers).status_code == 200
    assert "prod_ki001" in _products(client, share)


def test_a_retried_request_is_one_share(client: httpx.Client, owner: Owner) -> None:
    headers = {**owner.headers, "Idempotency-Key": uuid4().hex}
    answers = [client.post(owner.shares, json={"channel": "email"}, headers=headers) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    other = client.post(owner.shares, json={"channel": "twitter"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_figures_count_people_once(client: httpx.Client, product: Product, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/shared/{share}"
    view = {"page_view_id": str(uuid4()), "visitor_id": "one"}
    for _ in range(3):
        assert client.post(f"{path}/views", json=view).status_code == 204
    assert client.post(f"{path}/views", json={**view, "page_view_id": str(uuid4())}).status_code == 204
    assert client.get(f"/wishlists/shared/{share}").status_code == 200, "a person's fetch of the page is no view"
    assert client.get(path, headers={"User-Agent": "Googlebot/2.1"}).status_code == 200
    assert client.head(path).status_code == 200
    assert client.get(path, headers=owner.headers).status_code == 200

    def figures() -> tuple[int, int, int]:
        where = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}/analytics"
        body = client.get(where, headers=owner.headers).json()
        return body["view_count"], body["unique_viewers"], body["raw_view_count"]

    # Two people's, a crawler's and a HEAD; the three beacons of one page are one.
    eventually(lambda: figures() == (2, 1, 4))


def test_a_first_list_is_made(client: httpx.Client, product: Product, share: str) -> None:
    user = product.new_user()
    body = {"product_id": "prod_9s0t1u", "source": "shared_wishlist", "source_token": share}
    added = client.post("/api/v2/wishlists/my/items", json=body, headers=product.sign_in(user))
    assert added.status_code == 201
    made = "SELECT w.public_id, w.title FROM wishlists w JOIN users u ON u.id = w.owner_id WHERE u.public_id = $1"
    eventually(lambda: bool(product.sql(made, user)))
    assert dict(product.sql(made, user)[0]) == {"public_id": added.json()["wishlist_id"], "title": "My Wishlist"}


def test_strangers_have_no_say(client: httpx.Client, product: Product, owner: Owner, share: str) -> None:
    path = f"/api/v2/wishlists/{owner.wishlist}/shares"
    stranger = product.sign_in("user_other")
    calls = [
        client.get(path, headers=stranger),
        client.get(f"{path}/{share}", headers=stranger),
        client.get(f"{path}/{share}/analytics", headers=stranger),
        client.patch(f"{path}/{share}", json={"snapshot": True}, headers=stranger),
        client.put(f"{path}/{share}/items/{owner.items['prod_4d5e6f']}", json={"visible": False}, headers=stranger),
        client.delete(f"{path}/{share}", headers=stranger),
    ]
    assert {answer.status_code for answer in calls} == {403}
    assert client.get(f"/wishlists/shared/{share}").status_code == 200
