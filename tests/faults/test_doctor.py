"""`wishlist doctor` and its runbook under injected faults: each is named, and once it is over all is well again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
from confluent_kafka import Producer

from schemas.event import EventType
from schemas.ids import new_share_token, uuid7
from sinks.digest import GROUP as DIGEST
from tests import doctor_words
from tests.lab import CODEC, event
from tests.stack_control import ROOT, Stack, eventually, own_stack

TOPIC = "wishlist.social.events"
REJECTS = 5
# A part that hangs is the harder case; the long form has them killed too.
HOW = ["hung", "killed"][: int(os.environ.get("FAULT_OUTAGE_KINDS", "1"))]
AGENTS = ("persist", "preview", "digest", "push", "webhook", "warehouse", "segment", "archive")

# The stack's start counts among the first test's time.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif("FAULT_OUTAGE_KINDS" not in os.environ, reason="long: ./run test faults"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with own_stack(STREAM_MAX_CONSECUTIVE_REJECTS=str(REJECTS), DOCTOR_CPU_WAITING="1") as stack:
        all_is_well(stack)
        yield stack


def ask(stack: Stack, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and findings. Whatever is away, it is told as JSON and without a traceback."""
    done = subprocess.run(
        [str(ROOT / "run"), "wishlist", "doctor", "--json", *words],
        cwd=ROOT,
        env={**os.environ, **stack.settings, "WISHLIST_STATE": str(stack.folder)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr[-3_000:]
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (said["level"] != "well"), done.stderr[-1_000:]
    return done.returncode, said


def symptoms(stack: Stack, *words: str) -> dict[str, str]:
    """What was seen of each symptom, in the runbook's words."""
    return doctor_words.symptoms(ask(stack, *words)[1])


def all_is_well(stack: Stack) -> None:
    """Wait until it says so of everything."""
    last: list[Any] = []

    def well() -> bool:
        code, said = ask(stack)
        last[:] = [(one["check"], one["seen"]) for one in said["findings"] if one["level"] != "well"]
        return code == 0

    try:
        eventually(well, 120)
    except AssertionError:
        raise AssertionError(f"not well after 120 s: {last}") from None


def names(stack: Stack, *expected: str, only: str = "") -> dict[str, str]:
    """Wait until it names each of *expected*; returns what was seen of all."""
    found: dict[str, str] = {}

    def named() -> bool:
        found.clear()
        found.update(symptoms(stack, *(["--only", only] if only else [])))
        return set(expected) <= found.keys()

    try:
        eventually(named, 60)
    except AssertionError:
        raise AssertionError(f"{expected} not among {found}") from None
    return found


def create(stack: Stack) -> str:
    """A new share's token."""
    owner = stack.new_owner()
    answer = httpx.post(
        f"{stack.address('api')}/api/v2/wishlists/{owner.wishlist}/share",
        json={"channel": "copy_link"},
        headers=owner.headers,
        timeout=10,
    )
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["share_token"]
    return token


@contextmanager
def traffic(stack: Stack, path: str) -> Iterator[None]:
    """Somebody asks for *path* all the time."""
    over = threading.Event()

    def go_on() -> None:
        with httpx.Client(base_url=stack.address("api"), timeout=10) as client:
            while not over.wait(0.1):
                client.get(path)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def produce(stack: Stack, values: list[tuple[str, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": stack.address("kafka"), "compression.type": "lz4"})
    for key, value in values:
        producer.produce(TOPIC, value, key)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("how", HOW)
def test_postgres_away(stack: Stack, how: str) -> None:
    with stack.away("postgres", how), traffic(stack, f"/api/v2/wishlists/shared/{new_share_token()}"):
        found = names(stack, "postgres-away", "requests-fail")
        assert "redis-away" not in found
        assert "kafka-away" not in found
        _, said = ask(stack)
        assert said["findings"][0]["level"] == "broken", "what is worst comes first"
        assert {"migrations", "outbox", "dlq", "links"} <= doctor_words.unknown(said)
    all_is_well(stack)


@pytest.mark.parametrize("how", HOW)
def test_kafka_away(stack: Stack, how: str) -> None:
    with stack.away("kafka", how):
        create(stack)
        found = names(stack, "kafka-away", "outbox-waiting")
        assert "events: 1, for " in found["outbox-waiting"]
        assert "postgres-away" not in found
    all_is_well(stack)


@pytest.mark.parametrize("how", HOW)
def test_redis_away(stack: Stack, how: str) -> None:
    with stack.away("redis", how), traffic(stack, f"/api/v2/wishlists/shared/{new_share_token()}"):
        found = names(stack, "redis-away", "limits-fail-open")
        assert "postgres-away" not in found
    all_is_well(stack)


def test_renderer_away(stack: Stack) -> None:
    with stack.away("renderer", "killed"):
        # One picture alone would leave the breaker half open most of the time, between its tries.
        for _ in range(5):
            create(stack)
        names(stack, "breaker-open", only="breaker")
        found = names(stack, "renderer-away", "process-away")
        assert "renderer" in found["process-away"]
    all_is_well(stack)


def test_pictures_stopped_by_hand(stack: Stack) -> None:
    stack.run("wishlist", "previews", "--static")
    assert "breaker-forced" in symptoms(stack)
    stack.run("wishlist", "previews", "--live")
    all_is_well(stack)


def test_a_migration_is_missing(stack: Stack) -> None:
    applied = stack.sql("SELECT number, name FROM schema_migrations ORDER BY number DESC LIMIT 2")
    stack.run("wishlist", "rollback", "--above", str(applied[1]["number"]))
    found = symptoms(stack)
    assert found.keys() >= {"migrations-missing"}
    assert f"{applied[0]['number']:03d} {applied[0]['name']}" in found["migrations-missing"]
    stack.run("wishlist", "migrate")
    all_is_well(stack)


def test_a_tombstone_of_a_share_that_is_alive(stack: Stack) -> None:
    token = create(stack)
    eventually(lambda: bool(stack.sql("SELECT FROM wishlist_shares WHERE share_token = $1", token)))
    all_is_well(stack)
    with redis.Redis.from_url(stack.address("redis")) as connection:
        connection.set(f"share:{token}", "revoked", ex=3_600)
        assert httpx.get(f"{stack.address('api')}/api/v2/wishlists/shared/{token}").status_code == 404
        _, said = ask(stack)
        [found] = [one for one in said["findings"] if one["symptom"] == "links-dead"]
        # What it says to do is what helps.
        key = re.search(r" del (\S+);", found["do"])
        assert key is not None
        connection.delete(key[1])
    assert httpx.get(f"{stack.address('api')}/api/v2/wishlists/shared/{token}").status_code == 200
    all_is_well(stack)


def test_a_stopped_worker_and_its_lag(stack: Stack) -> None:
    stack.run("down", "digest")
    token = new_share_token()
    events = [event(EventType.CREATED, token)]
    events += [event(EventType.VIEWED, token, visitor_hash=f"v{n}", page_view_id=uuid7()) for n in range(2_100)]
    produce(stack, [(token, CODEC.encode(one)) for one in events])
    found = names(stack, "process-away", "group-empty", "group-behind", only="processes,lag")
    assert "digest" in found["process-away"]
    assert DIGEST in found["group-empty"]
    assert re.search(rf"{DIGEST}, 2,1\d\d of 2,000", found["group-behind"])
    stack.up()
    all_is_well(stack)


def test_poison_and_what_it_stops(stack: Stack) -> None:
    token = new_share_token()
    produce(stack, [(token, b"no event")])
    groups = "SELECT DISTINCT consumer_group FROM dead_letters WHERE state = 'open'"
    readers = "SELECT DISTINCT consumer_group FROM watermarks WHERE topic = $1"
    eventually(lambda: len(stack.sql(groups)) == len(stack.sql(readers, TOPIC)) > 5)
    assert "group-stopped" not in names(stack, "dead-letters-open")
    # As many in a row as a group bears, in one partition.
    produce(stack, [(token, b"no event")] * REJECTS)
    names(stack, "group-stopped", "dead-letters-open")
    stack.run("down", *AGENTS)
    stack.up()
    # What stopped them lies among the letters; nobody is told of it again.
    eventually(lambda: "group-stopped" not in symptoms(stack))
    assert "dead-letters-open" in symptoms(stack)
    stack.run("wishlist", "dlq", "discard", "--error", "magic byte", "--reason", "a test's", "--yes")
    all_is_well(stack)
