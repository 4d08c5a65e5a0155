"""A token that opens nothing tells nothing: unknown, malformed, revoked and expired look the same, byte for byte."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from .conftest import Owner, Product, eventually

# What differs from answer to answer, whatever was asked.
PER_ANSWER = {"date", "x-request-id", "x-trace-id"}


@pytest.fixture
def closed(client: httpx.Client, product: Product, owner: Owner) -> dict[str, str]:
    """Tokens that open nothing, by the reason."""
    tokens = []
    for _ in range(3):
        answer = client.post(owner.shares, json={"channel": "copy_link"}, headers=owner.headers)
        tokens.append(answer.json()["share_token"])
    revoked_at_once, revoked, expired = tokens
    shares = f"/api/v2/wishlists/{owner.wishlist}/shares"
    assert client.delete(f"{shares}/{revoked_at_once}", headers=owner.headers).status_code == 204
    row = "SELECT 1 FROM wishlist_shares WHERE share_token = $1"
    eventually(lambda: all(product.sql(row, token) for token in (revoked, expired)))
    assert client.delete(f"{shares}/{revoked}", headers=owner.headers).status_code == 204
    product.sql("UPDATE wishlist_shares SET expires_at = now() - interval '1 s' WHERE share_token = $1", expired)
    return {
        "unknown": "A" * 22,
        "twenty characters": "A" * 20,
        "too long": "A" * 23,
        "not base62": "A" * 21 + "-",
        "not ASCII": "%C3%BC",
        "revoked at once": revoked_at_once,
        "revoked": revoked,
        "expired": expired,
    }


def _seen(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in answer.headers.items() if name not in PER_ANSWER]
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/wishlists/shared/{}"),
        ("HEAD", "/wishlists/shared/{}"),
        ("GET", "/api/v2/wishlists/shared/{}"),
        ("HEAD", "/api/v2/wishlists/shared/{}"),
        ("POST", "/api/v2/wishlists/shared/{}/views"),
        ("GET", "/social/{}/preview.png"),
    ],
)
def test_the_answer_is_the_same(client: httpx.Client, closed: dict[str, str], method: str, path: str) -> None:
    body = {"page_view_id": str(uuid4())} if method == "POST" else None
    seen = {name: _seen(client.request(method, path.format(token), json=body)) for name, token in closed.items()}
    assert seen["unknown"][0] == 404
    for name, answer in seen.items():
        assert answer == seen["unknown"], name


def test_signing_in_changes_nothing(client: httpx.Client, owner: Owner, closed: dict[str, str]) -> None:
    path = "/api/v2/wishlists/shared/{}"
    seen = {_seen(client.get(path.format(token), headers=owner.headers))[:2] for token in closed.values()}
    seen.add(_seen(client.get(path.format("B" * 22)))[:2])
    assert len(seen) == 1


def test_guessing_is_limited(client: httpx.Client, share: str) -> None:
    paths = ["/api/v2/wishlists/shared/", "/wishlists/shared/"]
    statuses = [client.get(paths[n % 2] + "A" * 22).status_code for n in range(60)]
    assert set(statuses) == {404}
    for path in paths:
        refused = client.get(path + share)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
