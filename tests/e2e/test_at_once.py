"""The same things asked at the same time."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx

from .conftest import Owner, Product, eventually


def _at_once(times: int, product: Product, path: str, body: dict[str, Any], headers: dict[str, str]) -> list[Any]:
    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{product.api}{path}", json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(ask, range(times)))


def test_no_more_shares_than_the_limit(product: Product, owner: Owner) -> None:
    answers = _at_once(30, product, owner.shares, {"channel": "email"}, owner.headers)
    assert Counter(answer.status_code for answer in answers) == {201: 20, 429: 10}
    assert len({answer.json()["share_token"] for answer in answers if answer.status_code == 201}) == 20


def test_one_key_is_one_share(product: Product, owner: Owner) -> None:
    headers = {**owner.headers, "Idempotency-Key": uuid4().hex}
    answers = _at_once(12, product, owner.shares, {"channel": "email"}, headers)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    counted = "SELECT 1 FROM wishlist_shares s JOIN wishlists w ON w.id = s.wishlist_id WHERE w.public_id = $1"
    eventually(lambda: len(product.sql(counted, owner.wishlist)) == 1)


def test_clicks_at_once_are_one_item(product: Product, share: str) -> None:
    user = product.new_user()
    body = {"product_id": "prod_9s0t1u", "source": "shared_wishlist", "source_token": share}
    answers = _at_once(8, product, "/api/v2/wishlists/my/items", body, product.sign_in(user))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    added = "SELECT items_added FROM wishlist_shares WHERE share_token = $1"
    eventually(lambda: [row["items_added"] for row in product.sql(added, share)] == [1])
