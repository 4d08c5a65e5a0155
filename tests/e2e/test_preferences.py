"""What a user wants to hear of: read, changed, ended by a link without signing in; and a digest on its way."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest

from tests.e2e.conftest import BROWSER, Owner, Product, eventually

ME = "/api/v2/me"
PATH = "/api/v2/me/notification-preferences"
QUEUE = "wishlist-social-notifications.fifo"


def received(product: Product, user: str) -> list[dict[str, Any]]:
    """What the notification hub finds in the queue for *user*; it stays there."""
    client = boto3.client(
        "sqs", endpoint_url=product.sqs, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    url = client.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
    return [body for body in bodies if body["user_id"] == user]


def test_everything_is_on_until_it_is_switched_off(client: httpx.Client, owner: Owner) -> None:
    everything = {"social": {"digest": True, "push": True}, "orders": {"digest": True, "push": True}}
    assert client.get(PATH, headers=owner.headers).json() == everything
    changed = client.put(PATH, json={"social": {"push": False}}, headers=owner.headers)
    assert changed.status_code == 200
    assert changed.json() == {**everything, "social": {"digest": True, "push": False}}
    assert client.get(PATH, headers=owner.headers).json() == changed.json()
    assert client.get(PATH).status_code == 401


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "changes nothing"),
        ({"social": {}}, "changes nothing"),
        ({"social": {"sms": True}}, "social.sms: is not a known field"),
        ({"social": {"digest": "no"}}, "social.digest"),
        ({"games": {"digest": True}}, "games: is not a known field"),
    ],
)
def test_a_bad_wish_is_told_what_to_send(client: httpx.Client, owner: Owner, body: Any, words: str) -> None:
    answer = client.put(PATH, json=body, headers=owner.headers)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_digest_comes_when_the_owners_day_closes_and_its_link_ends_it(
    client: httpx.Client, product: Product, owner: Owner, share: str
) -> None:
    client.patch(ME, json={"time_zone": "Asia/Tokyo", "locale": "de"}, headers=owner.headers).raise_for_status()
    client.get(f"/api/v2/wishlists/shared/{share}").raise_for_status()
    counted = "SELECT 1 FROM digest_counts c JOIN users u ON u.id = c.owner_id WHERE u.public_id = $1 AND c.views = 1"
    eventually(lambda: bool(product.sql(counted, owner.user)))
    planned = "SELECT due_at FROM digest_owners o JOIN users u ON u.id = o.owner_id WHERE u.public_id = $1"
    eventually(lambda: product.sql(planned, owner.user)[0]["due_at"] is not None)
    [row] = product.sql(planned, owner.user)
    # Nine in Tokyo.
    assert (row["due_at"].astimezone(UTC).hour, row["due_at"].minute) == (0, 0)
    assert row["due_at"] - datetime.now(UTC) < timedelta(days=1)
    # Nobody waits for nine here: the owner moves to where it has just been.
    shift = min(12, datetime.now(UTC).hour - 9)
    zone = f"Etc/GMT{shift:+d}" if shift else "UTC"
    product.sql("UPDATE users SET time_zone = $2 WHERE public_id = $1", owner.user, zone)
    product.sql(
        "UPDATE digest_owners SET due_at = now() FROM users u WHERE u.id = owner_id AND u.public_id = $1", owner.user
    )
    eventually(lambda: bool(received(product, owner.user)), 60)
    [message] = received(product, owner.user)
    assert message["digest"]["totals"]["views"] == 1
    assert message["email"]["subject"] == "Deine Wunschlisten: 1 Aufruf"

    link = message["email"]["headers"]["List-Unsubscribe"].strip("<>")
    path = re.sub(r"^https?://[^/]+", "", link)
    page = client.get(path)
    assert page.status_code == 200
    assert client.get(PATH, headers=owner.headers).json()["social"]["digest"], "looking at it ends nothing"
    done = client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    assert client.get(PATH, headers=owner.headers).json() == {
        "social": {"digest": False, "push": True},
        "orders": {"digest": True, "push": True},
    }


@pytest.mark.parametrize("token", ["nonsense", "W10.abc", "x" * 5_000, "%00"])
def test_a_link_that_nobody_made_ends_nothing(client: httpx.Client, token: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, f"/unsubscribe/{token}", headers={"User-Agent": BROWSER})
        assert answer.status_code in {400, 404}


def test_quiet_hours_are_a_users_own(client: httpx.Client, owner: Owner) -> None:
    def quiet() -> Any:
        return client.get(ME, headers=owner.headers).json()["quiet_hours"]

    def change(body: Any) -> httpx.Response:
        return client.patch(ME, json=body, headers=owner.headers)

    assert quiet() == {"start": "22:00", "end": "08:00"}
    assert change({"quiet_hours": {"start": "13:30", "end": "15:00"}}).json()["quiet_hours"] == quiet()
    assert change({"locale": "de"}).status_code == 200
    assert quiet() == {"start": "13:30", "end": "15:00"}, "what is left out stays"
    assert change({"quiet_hours": None}).status_code == 200
    assert quiet() is None


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        ({"start": "24:00", "end": "08:00"}, "quiet_hours.start"),
        ({"start": "22:00", "end": "8:00"}, "quiet_hours.end"),
        ({"start": "22:00"}, "quiet_hours.end"),
        ({"start": "22:00", "end": "08:00", "zone": "UTC"}, "quiet_hours.zone"),
        ("22:00-08:00", "quiet_hours"),
    ],
)
def test_quiet_hours_that_are_none_are_told_what_to_send(
    client: httpx.Client, owner: Owner, hours: Any, field: str
) -> None:
    answer = client.patch(ME, json={"quiet_hours": hours}, headers=owner.headers)
    assert answer.status_code == 422
    assert [wrong["field"] for wrong in answer.json()["details"]] == [field]
