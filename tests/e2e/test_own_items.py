"""Copies show in the reader's own items at once, and an owner's words are stored sealed."""

from __future__ import annotations

import httpx

from .conftest import Owner, Product, eventually

WORDS = "No pressure — but the espresso machine would make my winter."


def _share(client: httpx.Client, owner: Owner, **body: object) -> str:
    answer = client.post(owner.shares, json={"channel": "email", **body}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["share_token"]
    return token


def _add(client: httpx.Client, headers: dict[str, str], token: str, item: str) -> httpx.Response:
    body = {"product_id": item, "source": "shared_wishlist", "source_token": token}
    return client.post("/api/v2/wishlists/my/items", json=body, headers=headers)


def test_a_copied_item_is_mine_before_and_after_it_is_applied(
    product: Product, client: httpx.Client, owner: Owner
) -> None:
    token = _share(client, owner)
    reader = product.sign_in(product.new_user())
    assert client.get("/api/v2/wishlists/my/items", headers=reader).json() == {"items": []}
    added = _add(client, reader, token, "prod_1a2b3c")
    assert added.status_code == 201
    assert client.get("/api/v2/wishlists/my/items", headers=reader).json() == {"items": [added.json()]}
    item = added.json()["wishlist_item_id"]
    eventually(lambda: product.sql("SELECT 1 FROM wishlist_items WHERE public_id = $1", item))
    assert client.get("/api/v2/wishlists/my/items", headers=reader).json() == {"items": [added.json()]}
    product.sql("UPDATE wishlist_items SET removed_at = now() WHERE public_id = $1", item)
    assert client.get("/api/v2/wishlists/my/items", headers=reader).json() == {"items": []}


def test_my_items_are_for_those_who_sign_in(client: httpx.Client) -> None:
    assert client.get("/api/v2/wishlists/my/items").status_code == 401


def test_a_message_is_read_by_friends_and_stored_sealed(product: Product, client: httpx.Client, owner: Owner) -> None:
    token = _share(client, owner, message=WORDS)
    assert client.get(f"/api/v2/wishlists/shared/{token}").json()["wishlist"]["message"] == WORDS
    eventually(lambda: product.sql("SELECT 1 FROM wishlist_shares WHERE share_token = $1", token))
    [row] = product.sql("SELECT message FROM wishlist_shares WHERE share_token = $1", token)
    assert row["message"]
    assert "espresso" not in row["message"]
    assert WORDS in client.get(f"/wishlists/shared/{token}", headers={"Accept": "text/html"}).text
    shares = client.get(owner.shares + "s", headers=owner.headers).json()["shares"]
    assert [share["message"] for share in shares] == [WORDS]
