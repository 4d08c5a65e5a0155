"""The API while a part is away (DESIGN 4), seen from outside: each part once killed and once frozen.

A killed part refuses connections; a frozen one (SIGSTOP) keeps them open and says nothing, which is the harder case.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
import redis
from confluent_kafka import Consumer, TopicPartition

from schemas.event import EventType
from tests.lab import event_of
from tests.stack_control import Owner, Stack, eventually, own_stack

FALLBACK = 200
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/117.0 Safari/537.36"
HOW = pytest.mark.parametrize("how", ["killed", "hung"])


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with own_stack(API_FALLBACK_LIMIT_PER_MINUTE=str(FALLBACK)) as stack:
        yield stack


@pytest.fixture
def owner(stack: Stack) -> Owner:
    return stack.new_owner()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """A browser at an address of its own, so that no test meets another one's look-up limit."""
    address = ".".join(str(random.randrange(1, 255)) for _ in range(3))
    headers = {"User-Agent": BROWSER, "X-Forwarded-For": f"10.{address}"}
    with httpx.Client(base_url=stack.address("api"), headers=headers, timeout=20) as browser:
        yield browser


def create(client: httpx.Client, owner: Owner, within: float) -> str:
    """A new share's token; it must be answered *within* so many seconds."""
    answer = post(client, owner, within)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["share_token"]
    return token


def post(client: httpx.Client, owner: Owner, within: float) -> httpx.Response:
    began = time.monotonic()
    answer = client.post(
        f"/api/v2/wishlists/{owner.wishlist}/share", json={"channel": "copy_link"}, headers=owner.headers
    )
    assert time.monotonic() - began < within
    return answer


def look_up(client: httpx.Client, token: str, within: float = 2.0) -> int:
    """The status of a look-up."""
    began = time.monotonic()
    answer = client.get(f"/api/v2/wishlists/shared/{token}")
    assert time.monotonic() - began < within
    if answer.status_code == 200:
        assert answer.json()["wishlist"]["item_count"] == 3
    return answer.status_code


def revoke(client: httpx.Client, owner: Owner, token: str, within: float = 3.0) -> httpx.Response:
    began = time.monotonic()
    answer = client.delete(f"/api/v2/wishlists/{owner.wishlist}/shares/{token}", headers=owner.headers)
    assert time.monotonic() - began < within
    return answer


def is_error(answer: httpx.Response, status: int) -> bool:
    """Whether *answer* is the spec's error body under *status*."""
    return answer.status_code == status and {"error", "message", "request_id"} <= answer.json().keys()


def applied(stack: Stack, token: str) -> bool:
    return bool(stack.sql("SELECT FROM wishlist_shares WHERE share_token = $1", token))


def ended_in_postgres(stack: Stack, token: str) -> bool:
    """Whether the revocation has reached PostgreSQL: until then only its tombstone in Redis ends the link."""
    return bool(stack.sql("SELECT FROM wishlist_shares WHERE share_token = $1 AND is_revoked", token))


def flush(stack: Stack) -> None:
    with redis.Redis.from_url(stack.address("redis")) as connection:
        connection.flushall()


def waiting(stack: Stack, token: str) -> list[str]:
    """Types of the share's events in the outbox, in the order in which the relay sends them."""
    rows = stack.sql("SELECT event_type FROM event_outbox WHERE share_token = $1 ORDER BY id", token)
    return [row["event_type"] for row in rows]


def topic_order(stack: Stack, token: str) -> list[EventType]:
    """The types of a share's events as Kafka has them, in order; an event that is there twice counts once."""
    consumer = Consumer({"bootstrap.servers": stack.address("kafka"), "group.id": uuid4().hex})
    topic = "wishlist.social.events"
    partitions = [
        TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, 10).topics[topic].partitions
    ]
    left = sum(consumer.get_watermark_offsets(partition, 10)[1] for partition in partitions)
    consumer.assign(partitions)
    seen: dict[object, EventType] = {}
    while left > 0:
        records = consumer.consume(1_000, 10)
        assert records, "the topic could not be read to its end"
        left -= len(records)
        for record in records:
            if record.key() == token.encode():
                event = event_of(record)
                seen.setdefault(event.event_id, event.event_type)
    consumer.close()
    return list(seen.values())


@HOW
def test_kafka_away(stack: Stack, client: httpx.Client, owner: Owner, how: str) -> None:
    before = create(client, owner, 2)
    eventually(lambda: applied(stack, before))
    with stack.away("kafka", how):
        kept = create(client, owner, 2)
        assert waiting(stack, kept) == [EventType.CREATED]
        assert look_up(client, kept) == 200, "the link works at once"
        ended = create(client, owner, 2)
        assert revoke(client, owner, ended).status_code == 204
        assert look_up(client, ended) == 404, "the link is dead at once"
        assert waiting(stack, ended)[0] == EventType.CREATED
        assert waiting(stack, ended)[-1] == EventType.REVOKED
        assert revoke(client, owner, before).status_code == 204
        assert look_up(client, before) == 404
        flush(stack)
        assert look_up(client, kept) == 200, "the outbox serves what Redis has forgotten"
        assert look_up(client, ended) == 404, "and a revocation likewise"
        assert look_up(client, before) == 404
    eventually(lambda: not stack.sql("SELECT FROM event_outbox LIMIT 1"), 45)
    for token, revoked in ((kept, False), (ended, True), (before, True)):
        eventually(lambda token=token: applied(stack, token))
        eventually(
            lambda token=token, revoked=revoked: (
                stack.sql("SELECT is_revoked FROM wishlist_shares WHERE share_token = $1", token)[0][0] is revoked
            )
        )
        assert stack.sql("SELECT count(*) FROM wishlist_shares WHERE share_token = $1", token)[0][0] == 1
    order = [kind for kind in topic_order(stack, ended) if kind is not EventType.VIEWED]
    assert order == [EventType.CREATED, EventType.REVOKED]
    eventually(lambda: stack.sql("SELECT raw_view_count FROM wishlist_shares WHERE share_token = $1", kept)[0][0] == 2)


@HOW
def test_redis_away(stack: Stack, client: httpx.Client, owner: Owner, how: str) -> None:
    before, ended = create(client, owner, 2), create(client, owner, 2)
    eventually(lambda: applied(stack, before) and applied(stack, ended))
    with stack.away("redis", how):
        token = create(client, owner, 3)
        assert look_up(client, token) == 200
        assert look_up(client, before) == 200
        # Without its tombstone a revocation is not promised, but nothing of the link is left to be seen either.
        assert is_error(revoke(client, owner, ended), 503)
        assert look_up(client, ended) == 404
    eventually(lambda: revoke(client, owner, ended).status_code == 204)
    assert look_up(client, ended) == 404
    assert look_up(client, token) == 200


def test_cap_without_redis(stack: Stack, client: httpx.Client, owner: Owner) -> None:
    before = create(client, owner, 2)
    eventually(lambda: applied(stack, before))
    with stack.away("redis", "hung"):
        answers = [client.get(f"/api/v2/wishlists/shared/{before}") for _ in range(2 * FALLBACK + 2)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused, "the cap of the process applies"
        assert all(is_error(answer, 429) and int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert len(answers) - len(refused) <= 2 * FALLBACK
    # Once Redis is back, its own limits hold, and the cap no more.
    eventually(lambda: look_up(client, before) == 200)
    create(client, owner, 2)


def test_redis_forgets_everything(stack: Stack, client: httpx.Client, owner: Owner) -> None:
    token, ended = create(client, owner, 2), create(client, owner, 2)
    assert revoke(client, owner, ended).status_code == 204
    eventually(lambda: applied(stack, token) and ended_in_postgres(stack, ended))
    flush(stack)
    assert look_up(client, token) == 200
    assert look_up(client, ended) == 404


@HOW
def test_postgres_away(stack: Stack, client: httpx.Client, owner: Owner, how: str) -> None:
    token, ended = create(client, owner, 2), create(client, owner, 2)
    assert revoke(client, owner, ended).status_code == 204
    with stack.away("postgres", how):
        for _ in range(3):
            answer = post(client, owner, 6)
            assert is_error(answer, 503), answer.text
            assert answer.headers["Retry-After"]
            assert look_up(client, token, within=6) == 200, "cached shares stay readable"
            assert client.get(f"/wishlists/shared/{token}").status_code == 200
        assert look_up(client, ended, within=6) == 404
    eventually(lambda: post(client, owner, 10).status_code == 201)
    eventually(lambda: applied(stack, token))
    assert look_up(client, token) == 200
    # Views of the outage are not lost: the look-ups above, and nothing twice.
    eventually(lambda: stack.sql("SELECT raw_view_count FROM wishlist_shares WHERE share_token = $1", token)[0][0] == 4)


@HOW
def test_renderer_away(stack: Stack, client: httpx.Client, owner: Owner, how: str) -> None:
    generic = client.get("/social/default/wishlist-share-preview.png").content
    with stack.away("renderer", how):
        token = create(client, owner, 1)
        assert look_up(client, token) == 200
        began = time.monotonic()
        picture = client.get(f"/social/{token}/preview.png")
        assert time.monotonic() - began < 4
        assert picture.status_code == 200
        assert picture.headers["Content-Type"] == "image/png"
        assert "no-store" in picture.headers["Cache-Control"]
        # The generic picture, or by then already the card that needs no browser.
        assert picture.content.startswith(b"\x89PNG")
    eventually(lambda: bool(own_picture(client, token, generic)), 45)
    own = own_picture(client, token, generic)
    assert own is not None and own.startswith(b"\x89PNG")


def own_picture(client: httpx.Client, token: str, generic: bytes) -> bytes | None:
    answer = client.get(f"/social/{token}/preview.png")
    own = answer.status_code == 200 and "max-age" in answer.headers["Cache-Control"] and answer.content != generic
    return answer.content if own else None
