"""Where push notifications go."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import Owner, Product

PATH = "/api/v2/me/devices"
DEVICES = "SELECT d.platform, d.token FROM devices d JOIN users u ON u.id = d.user_id WHERE u.public_id = $1"


def held(product: Product, user: str) -> set[tuple[str, str]]:
    return {(row["platform"], row["token"]) for row in product.sql(DEVICES, user)}


def test_a_device_comes_and_goes(client: httpx.Client, product: Product, owner: Owner) -> None:
    token = uuid4().hex * 2
    for _ in range(2):
        answer = client.post(PATH, json={"platform": "ios", "token": token}, headers=owner.headers)
        assert answer.status_code == 201
        assert answer.json()["platform"] == "ios"
    assert held(product, owner.user) == {("ios", token)}
    for _ in range(2):
        assert client.request("DELETE", PATH, json={"token": token}, headers=owner.headers).status_code == 204
    assert held(product, owner.user) == set()
    assert client.post(PATH, json={"platform": "ios", "token": token}).status_code == 401


def test_a_device_belongs_to_whoever_signed_in_last(client: httpx.Client, product: Product, owner: Owner) -> None:
    other, token = product.new_user(), f"{uuid4().hex}:APA91b-{uuid4().hex}"
    client.post(PATH, json={"platform": "android", "token": token}, headers=owner.headers).raise_for_status()
    client.post(PATH, json={"platform": "android", "token": token}, headers=product.sign_in(other)).raise_for_status()
    assert held(product, owner.user) == set()
    assert held(product, other) == {("android", token)}
    client.request("DELETE", PATH, json={"token": token}, headers=owner.headers).raise_for_status()
    assert held(product, other) == {("android", token)}, "nobody removes somebody else's"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"platform": "ios", "token": "x" * 10_000}, "token"),
        ({"platform": "ios", "token": "Call me Ishmael. Some years ago"}, "token"),
        ({"platform": "ios", "token": ""}, "token"),
        ({"platform": "fridge", "token": "a" * 64}, "platform"),
        ({"platform": "ios"}, "token"),
    ],
)
def test_what_is_no_token_is_told_so(client: httpx.Client, owner: Owner, body: Any, field: str) -> None:
    answer = client.post(PATH, json=body, headers=owner.headers)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["details"]] == [field]


def test_twenty_devices_are_enough_for_anybody(client: httpx.Client, owner: Owner) -> None:
    for n in range(20):
        token = f"{n:02d}{uuid4().hex}"
        client.post(PATH, json={"platform": "ios", "token": token}, headers=owner.headers).raise_for_status()
    again = client.post(PATH, json={"platform": "ios", "token": token}, headers=owner.headers)
    assert again.status_code == 201
    refused = client.post(PATH, json={"platform": "ios", "token": uuid4().hex}, headers=owner.headers)
    assert (refused.status_code, refused.json()["error"]) == (409, "TOO_MANY_DEVICES")
