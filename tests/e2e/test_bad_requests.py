"""Bad bodies, bad tokens, bad headers: always a 4xx that says what to do, never a 500."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from .conftest import STATE, Owner, Product

GOOD = {"channel": "copy_link"}


@pytest.fixture(scope="module")
def owner(product: Product) -> Owner:
    """One owner for all bad requests: none of them uses up the limit."""
    return product.new_owner()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "channel"),
        ({"channel": "link"}, "channel"),
        ({"channel": "COPY_LINK"}, "channel"),
        ({"channel": None}, "channel"),
        ({"channel": ["copy_link"]}, "channel"),
        ({**GOOD, "expires_in_days": 8}, "expires_in_days"),
        ({**GOOD, "expires_in_days": "7"}, "expires_in_days"),
        ({**GOOD, "expires_in_days": 10**30}, "expires_in_days"),
        ({**GOOD, "expires_in_days": -7}, "expires_in_days"),
        ({**GOOD, "expires_in_days": True}, "expires_in_days"),
        ({**GOOD, "hidden_items": "item_abc123"}, "hidden_items"),
        ({**GOOD, "hidden_items": [1]}, "hidden_items"),
        ({**GOOD, "hidden_items": ["item_of_nobody"]}, "hidden_items"),
        ({**GOOD, "hidden_items": ["x"] * 1_001}, "hidden_items"),
        ({**GOOD, "message": "x" * 501}, "message"),
        ({**GOOD, "message": 5}, "message"),
        ({**GOOD, "message": "a\0b"}, "message"),
        ({**GOOD, "surprise": 1}, "surprise"),
        ({**GOOD, "__proto__": {}}, "__proto__"),
    ],
)
def test_the_field_and_the_remedy_are_named(
    client: httpx.Client, owner: Owner, body: dict[str, Any], field: str
) -> None:
    answer = client.post(owner.shares, json=body, headers=owner.headers)
    assert answer.status_code == 422, answer.text
    said = answer.json()
    assert said["error"] == "VALIDATION_ERROR"
    assert said["request_id"] == answer.headers["x-request-id"]
    assert any(detail["field"].split(".")[0] == field and detail["remedy"] for detail in said["details"])
    assert field in said["message"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"null", 422),
        (b"[]", 422),
        (b'"copy_link"', 422),
        (b'{"channel": NaN}', 422),
        (b'{"channel": "\xff\xfe"}', 422),
        (b'{"channel": "\\ud800"}', 422),
        (b'{"channel": "copy_link", "message": "\\u0000"}', 422),
        (b"[" * 100_000, 422),
        (b'{"channel":' * 2_000 + b"1" + b"}" * 2_000, 422),
        (b'{"channel":' + b"[" * 900 + b"]" * 900 + b"}", 422),
        (b'{"message": "' + b"x" * (10 * 1024 * 1024) + b'"}', 413),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_bytes_that_are_no_body(client: httpx.Client, owner: Owner, raw: bytes, status: int) -> None:
    headers = {**owner.headers, "Content-Type": "application/json"}
    answer = client.post(owner.shares, content=raw, headers=headers)
    assert answer.status_code == status, answer.text
    assert {"error", "message", "request_id"} <= set(answer.json())


def test_a_large_body_without_length_is_cut_off(client: httpx.Client, owner: Owner) -> None:
    def parts() -> Any:
        yield b'{"message": "'
        for _ in range(11):
            yield b"x" * 1024 * 1024

    try:
        answer = client.post(owner.shares, content=parts(), headers=owner.headers)
    except httpx.WriteError:
        return  # the server hung up while we were still sending
    assert answer.status_code == 413


def test_other_media_types_are_refused(client: httpx.Client, owner: Owner) -> None:
    answer = client.post(owner.shares, data={"channel": "copy_link"}, headers=owner.headers)
    assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _claims(owner: Owner, **changes: Any) -> dict[str, Any]:
    good = jwt.decode(owner.jwt, options={"verify_signature": False})
    changed = {**good, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def _bad_tokens(owner: Owner) -> dict[str, str]:
    claims = _claims(owner)
    header, payload, signature = owner.jwt.split(".")
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    confused_header = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{confused_header}.{_b64(json.dumps(claims).encode())}"
    key = (STATE / "jwt" / "public.pem").read_bytes()
    tokens = {
        "not a token": "hello",
        "two parts": f"{header}.{payload}",
        "none": jwt.encode(claims, "", algorithm="none"),
        "HS256 under the public key": f"{signed}.{_b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}",
        "someone else's key": jwt.encode(claims, stranger, algorithm="RS256"),
        "changed payload": f"{header}.{_b64(json.dumps(_claims(owner, sub='user_maya')).encode())}.{signature}",
        "no signature": f"{header}.{payload}.",
        "deep header": f"{_b64(b'[' * 3000)}.{payload}.{signature}",
        "binary header": f"{_b64(bytes(range(256)))}.{payload}.{signature}",
        "very long": "x" * 20_000,
    }
    return tokens


def test_tokens_that_prove_nothing(client: httpx.Client, owner: Owner) -> None:
    for name, token in _bad_tokens(owner).items():
        answer = client.post(owner.shares, json=GOOD, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, f"{name}: {answer.text}"
        assert answer.json()["error"] == "UNAUTHORIZED"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_claims_that_are_not_enough(client: httpx.Client, owner: Owner) -> None:
    key_file = STATE / "jwt" / "private.pem"
    if not key_file.exists():
        pytest.skip("the development key is not beside the public one")
    now = int(time.time())
    for changes in (
        {"exp": now - 60},
        {"exp": None},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-api"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"nbf": now + 3_600},
    ):
        token = jwt.encode(_claims(owner, **changes), key_file.read_text(), algorithm="RS256")
        answer = client.post(owner.shares, json=GOOD, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, f"{changes}: {answer.text}"


@pytest.mark.parametrize("value", ["", "Basic dXNlcjpwYXNz", "Bearer", "Token x"])
def test_other_schemes_are_refused(client: httpx.Client, owner: Owner, value: str) -> None:
    answer = client.post(owner.shares, json=GOOD, headers={"Authorization": value})
    assert answer.status_code == 401


def test_who_asks_comes_before_what(client: httpx.Client, owner: Owner) -> None:
    assert client.post(owner.shares, content=b"{").status_code == 401
    assert client.post("/api/v2/wishlists/my/items", content=b"{").status_code == 401


@pytest.mark.parametrize("path", ["/wishlists/shared/%00", "/api/v2/wishlists/shared/x%00y", "/healthz?a=%00"])
def test_nul_in_the_url(client: httpx.Client, path: str) -> None:
    assert 400 <= client.get(path).status_code < 500


@pytest.mark.parametrize("wishlist", ["x" * 5_000, "%F0%9F%8E%81", "%ff", "a%2Fb", "wl_'; DROP TABLE users; --"])
def test_strange_lists_are_not_found(client: httpx.Client, owner: Owner, wishlist: str) -> None:
    answer = client.post(f"/api/v2/wishlists/{wishlist}/share", json=GOOD, headers=owner.headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("given", [b"a b", b"x" * 200, b"<script>", "ü".encode()])
def test_strange_request_ids_are_replaced(client: httpx.Client, given: bytes) -> None:
    answer = client.get("/healthz", headers=[(b"X-Request-ID", given)])
    assert answer.status_code == 200
    assert answer.headers["x-request-id"].startswith("req_")


def test_unknown_paths_and_methods(client: httpx.Client, owner: Owner) -> None:
    missing = client.get("/nowhere")
    assert (missing.status_code, missing.json()["error"]) == (404, "NOT_FOUND")
    wrong = client.put(owner.shares, json=GOOD, headers=owner.headers)
    assert (wrong.status_code, wrong.json()["error"]) == (405, "METHOD_NOT_ALLOWED")


def test_only_what_is_shown_can_be_copied(client: httpx.Client, product: Product, share: str) -> None:
    reader = product.sign_in("user_recipient")

    def copy(**changes: Any) -> httpx.Response:
        body = {"product_id": "prod_1a2b3c", "source": "shared_wishlist", "source_token": share, **changes}
        return client.post("/api/v2/wishlists/my/items", json=body, headers=reader)

    assert copy(product_id="prod_ki001").status_code == 404
    assert copy(source_token="A" * 22).status_code == 404
    assert copy(source="elsewhere").status_code == 422
    assert copy(product_id="").status_code == 422
    assert copy(product_id=None).status_code == 422


def test_what_can_be_copied_follows_the_list_at_once(
    client: httpx.Client, product: Product, owner: Owner, share: str
) -> None:
    def copy(item: str) -> int:
        body = {"product_id": item, "source": "shared_wishlist", "source_token": share}
        reader = product.sign_in(product.new_user())
        return client.post("/api/v2/wishlists/my/items", json=body, headers=reader).status_code

    item = next(iter(owner.items))
    assert (copy(item), copy("prod_ki001")) == (201, 404)
    product.add_item(owner, "prod_ki001")
    assert copy("prod_ki001") == 201
    toggle = f"/api/v2/wishlists/{owner.wishlist}/shares/{share}/items/{owner.items[item]}"
    assert client.put(toggle, json={"visible": False}, headers=owner.headers).status_code == 200
    assert copy(item) == 404


def test_profile_is_checked(client: httpx.Client, product: Product, owner: Owner) -> None:
    def change(body: dict[str, Any]) -> int:
        return client.patch("/api/v2/me", json=body, headers=owner.headers).status_code

    assert change({"time_zone": "Asia/Tokyo", "locale": "ja-JP"}) == 200
    assert client.get("/api/v2/me", headers=owner.headers).json()["time_zone"] == "Asia/Tokyo"
    for body in ({}, {"time_zone": "Mars/Olympus"}, {"time_zone": ""}, {"locale": "../../etc"}, {"user_id": "x"}):
        assert change(body) == 422, body


def test_bad_beacons(client: httpx.Client, share: str) -> None:
    path = f"/api/v2/wishlists/shared/{share}/views"
    for body in ({}, {"page_view_id": "x"}, {"page_view_id": 1}, {"page_view_id": str(uuid4()), "x": 1}):
        assert client.post(path, json=body).status_code == 422, body
