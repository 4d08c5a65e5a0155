"""Webhooks as their owners see them: set, told, paused, disabled and gone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import ROOT, RUN, Owner, Product, eventually
from tests.webhook_receiver import Receiver, open_receiver

PATH = "/api/v2/me/webhook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as receiver:
        yield receiver


def put(client: httpx.Client, owner: Owner, url: str, **more: Any) -> dict[str, Any]:
    answer = client.put(PATH, json={"url": url, **more}, headers=owner.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-store"
    body: dict[str, Any] = answer.json()
    return body


def shown(client: httpx.Client, owner: Owner) -> dict[str, Any]:
    answer = client.get(PATH, headers=owner.headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def share(client: httpx.Client, owner: Owner) -> str:
    answer = client.post(owner.shares, json={"channel": "whatsapp"}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["share_token"]
    return token


def types(receiver: Receiver, path: str = "/") -> list[str]:
    return [call.body["type"] for call in list(receiver.calls) if call.path == path]


def test_an_owner_is_told_of_their_own_shares(client: httpx.Client, owner: Owner, receiver: Receiver) -> None:
    made = put(client, owner, receiver.url())
    assert made["secret"].startswith("whsec_")
    receiver.secrets["/"] = made.pop("secret")
    assert made == shown(client, owner)
    assert made == {
        "url": receiver.url(), "state": "active", "paused_until": None, "disabled_at": None, "reason": None,
        "failures_in_a_row": 0, "last_success_at": None,
    }  # fmt: skip
    token = share(client, owner)
    client.get(f"/api/v2/wishlists/shared/{token}").raise_for_status()
    client.delete(f"/api/v2/wishlists/{owner.wishlist}/shares/{token}", headers=owner.headers).raise_for_status()
    eventually(lambda: sorted(types(receiver)) == ["share.created", "share.revoked", "share.viewed"])
    assert {call.body["data"]["share_token"] for call in receiver.calls} == {token}
    assert {call.body["data"]["wishlist_id"] for call in receiver.calls} == {owner.wishlist}
    assert all(call.is_genuine for call in receiver.calls)
    eventually(lambda: bool(shown(client, owner)["last_success_at"]))


def test_a_secret_is_told_once_and_changed_on_request(client: httpx.Client, owner: Owner, receiver: Receiver) -> None:
    first = put(client, owner, receiver.url())["secret"]
    assert "secret" not in put(client, owner, receiver.url("/other"))
    assert "secret" not in shown(client, owner)
    second = put(client, owner, receiver.url(), rotate_secret=True)["secret"]
    assert second != first
    for receiver.secrets["/"] in (first, second):
        count = len(receiver.calls)
        share(client, owner)
        eventually(lambda count=count: len(receiver.calls) > count)
    assert [call.is_genuine for call in receiver.calls] == [True, True]


def test_a_webhook_that_is_gone_hears_nothing_more(
    client: httpx.Client, product: Product, owner: Owner, receiver: Receiver
) -> None:
    receiver.says = lambda _: (500, {"Retry-After": "3"})
    put(client, owner, receiver.url())
    share(client, owner)
    eventually(lambda: shown(client, owner)["state"] == "paused")
    assert shown(client, owner)["reason"] == "status 500"
    for _ in range(2):
        assert client.delete(PATH, headers=owner.headers).status_code == 204
    assert client.get(PATH, headers=owner.headers).status_code == 404
    waiting = product.sql(
        "SELECT 1 FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN users u ON u.id = w.owner_id "
        "WHERE u.public_id = $1",
        owner.user,
    )
    assert waiting == []


def test_gone_disables_it_and_setting_it_enables_it_again(
    client: httpx.Client, owner: Owner, receiver: Receiver
) -> None:
    receiver.says = lambda _: (410, {})
    put(client, owner, receiver.url())
    share(client, owner)
    eventually(lambda: shown(client, owner)["state"] == "disabled")
    seen = shown(client, owner)
    assert (seen["reason"], seen["failures_in_a_row"]) == ("status 410", 1)
    assert seen["disabled_at"]
    receiver.says = lambda _: (204, {})
    assert put(client, owner, receiver.url())["state"] == "active"
    token = share(client, owner)
    eventually(lambda: len(receiver.calls) == 2)
    assert receiver.calls[1].body["data"]["share_token"] == token


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "https://user:word@example.com/"}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": "https://example.com/" + "x" * 3_000}, "url"),
        ({"url": ""}, "url"),
        ({"url": 7}, "url"),
        ({}, "url"),
        ({"url": "https://example.com/", "rotate_secret": "yes"}, "rotate_secret"),
        ({"url": "https://example.com/", "secret": "mine"}, "secret"),
    ],
)
def test_what_is_no_webhook_is_told_so(client: httpx.Client, owner: Owner, body: Any, field: str) -> None:
    answer = client.put(PATH, json=body, headers=owner.headers)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["details"]] == [field]
    assert client.get(PATH, headers=owner.headers).status_code == 404


def test_only_who_is_signed_in(client: httpx.Client, product: Product, owner: Owner) -> None:
    put(client, owner, "https://example.com/hook")
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method, PATH, json={"url": "https://example.com/"}).status_code == 401
    other = product.new_owner()
    assert client.get(PATH, headers=other.headers).status_code == 404
    assert client.delete(PATH, headers=other.headers).status_code == 204
    assert shown(client, owner)["url"] == "https://example.com/hook"
    nobody = product.sign_in(f"user_{uuid4().hex[:12]}")
    assert client.get(PATH, headers=nobody).status_code == 401


def operate(*words: str) -> tuple[int, str]:
    done = subprocess.run([RUN, "wishlist", "webhook", *words], capture_output=True, text=True, timeout=120, cwd=ROOT)
    return done.returncode, done.stdout


def test_the_shops_own_hears_of_everybody(client: httpx.Client, owner: Owner, receiver: Receiver) -> None:
    try:
        code, said = operate("set", receiver.url("/shop"), "--rotate-secret")
        assert code == 0, said
        receiver.secrets["/shop"] = said.split("secret: ")[1].split()[0]
        token = share(client, owner)
        eventually(lambda: token in {call.body["data"]["share_token"] for call in list(receiver.calls)})
        assert all(call.is_genuine for call in receiver.calls)
        code, said = operate("show")
        assert (code, receiver.url("/shop") in said, "whsec_" in said) == (0, True, False)
        assert client.get(PATH, headers=owner.headers).status_code == 404
    finally:
        assert operate("remove")[0] == 0
    assert "no webhook" in operate("show")[1]
    code, said = operate("set", "gopher://example.com/")
    assert code == 1
    assert "is not an https URL" in said
    assert "Traceback" not in said
