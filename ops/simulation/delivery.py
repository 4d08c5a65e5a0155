"""Has a plan happen: its events straight to the topic, or its acts through the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from confluent_kafka import KafkaError, Message, Producer
from msgspec import structs

from clients import logs
from clients.producer import SPEC_SETTINGS
from config.settings import KafkaSettings
from ops.simulation.events import events_of
from ops.simulation.plan import Act, Plan, Story
from schemas.codec import Codec
from schemas.event import EventType
from schemas.segment import SegmentMessage, encode

_STORIES_AT_ONCE = 20
_MESSAGES_AT_ONCE = 100
# Many events wait for one acknowledgement here, unlike behind a request.
_BULK = {"linger.ms": 50, "batch.num.messages": 10_000, "queue.buffering.max.messages": 200_000}
Progress = Callable[[int], object]


class DeliveryFailed(Exception):
    """Kafka refused an event; the message says why."""


def to_topic(plan: Plan, kafka: KafkaSettings, codec: Codec, progress: Progress) -> int:
    """Append every event; returns how many. Raises :class:`DeliveryFailed` unless all are acknowledged."""
    records = ((event.share_token, codec.encode(event)) for event in events_of(plan))
    return _append(records, kafka, kafka.events_topic, progress)


def messages_to_topic(messages: Iterable[SegmentMessage], kafka: KafkaSettings, progress: Progress) -> int:
    """As :func:`to_topic`, for messages of the Segment interface."""
    records = ((message.user_id or message.message_id, encode(message)) for message in messages)
    return _append(records, kafka, kafka.segment_topic, progress)


def _append(records: Iterable[tuple[str, bytes]], kafka: KafkaSettings, topic: str, progress: Progress) -> int:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, **SPEC_SETTINGS, **_BULK}, logger=logs.librdkafka
    )
    failures: list[str] = []
    acknowledged = 0

    def delivered(error: KafkaError | None, _: Message) -> None:
        nonlocal acknowledged
        if error is not None:
            failures.append(error.str())
            return
        acknowledged += 1
        if acknowledged % 1_000 == 0:
            progress(1_000)

    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key.encode(), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    progress(acknowledged % 1_000)
    if failures or len(producer):
        raise DeliveryFailed(failures[0] if failures else "no acknowledgement within 60 s")
    return acknowledged


@dataclass
class Answers:
    """How the API answered: counts by kind of act and status."""

    counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def note(self, kind: EventType, status: int) -> None:
        """One more answer."""
        self.counts[str(kind), status] = self.counts.get((str(kind), status), 0) + 1


async def messages_through_api(
    messages: Iterable[SegmentMessage], base_url: str, write_key: str, progress: Progress
) -> int:
    """Send messages as Segment's libraries do, a hundred at a time; returns how many.

    Raises :class:`DeliveryFailed` if one is refused. They are told as of now: none of long ago is taken.
    """
    sent = 0
    async with httpx.AsyncClient(base_url=base_url, timeout=20, auth=(write_key, "")) as http:
        batch: list[dict[str, Any]] = []
        for message in messages:
            kept = structs.replace(message, timestamp=datetime.now(UTC), original_timestamp=None, sent_at=None)
            batch.append(msgspec.to_builtins(kept))
            if len(batch) == _MESSAGES_AT_ONCE:
                await _send_batch(http, batch, progress)
                sent += len(batch)
                batch = []
        await _send_batch(http, batch, progress)
    return sent + len(batch)


async def _send_batch(http: httpx.AsyncClient, batch: list[dict[str, Any]], progress: Progress) -> None:
    answer = await http.post("/v1/batch", json={"batch": batch})
    if answer.status_code != 200:
        raise DeliveryFailed(answer.text)
    progress(len(batch))


async def through_api(plan: Plan, base_url: str, token_of: Callable[[str], str], progress: Progress) -> Answers:
    """Act every story against the API, a story's acts in order, 20 stories at once. The API makes tokens and times.

    Expiry is left to time: the API has no request for it.
    """
    answers, gate = Answers(), asyncio.Semaphore(_STORIES_AT_ONCE)
    async with httpx.AsyncClient(base_url=base_url, timeout=20) as http:

        async def act_out(story: Story) -> None:
            async with gate:
                actor = _Actor(http, token_of, story, answers)
                for act in story.acts:
                    await actor.do(act)
                    progress(1)

        await asyncio.gather(*(act_out(story) for story in plan.stories))
    return answers


class _Actor:
    def __init__(self, http: httpx.AsyncClient, token_of: Callable[[str], str], story: Story, answers: Answers) -> None:
        self._http, self._token_of, self._story, self._answers = http, token_of, story, answers
        self._shares = f"/api/v2/wishlists/{story.wishlist.public_id}/shares"
        self._token: str | None = None

    async def do(self, act: Act) -> None:
        kind, owner = act.kind, self._story.owner.public_id
        if kind is EventType.CREATED:
            body = {
                "channel": str(self._story.channel),
                "expires_in_days": self._story.expires_in_days,
                "hidden_items": [item.public_id for item in self._story.hidden],
            }
            answer = await self._send(act, "POST", self._shares.removesuffix("s"), owner, body)
            self._token = answer.json().get("share_token") if answer.status_code == 201 else None
        elif self._token is None:
            return
        elif kind is EventType.VIEWED:
            person = act.visitor.person.public_id if act.visitor.person else None
            await self._send(act, "GET", f"/api/v2/wishlists/shared/{self._token}", person)
        elif kind is EventType.ITEM_ADDED and act.item and act.visitor.person:
            body = {"product_id": act.item.product_id, "source": "shared_wishlist", "source_token": self._token}
            await self._send(act, "POST", "/api/v2/wishlists/my/items", act.visitor.person.public_id, body)
        elif kind is EventType.SETTINGS_CHANGED and act.item:
            path = f"{self._shares}/{self._token}/items/{act.item.public_id}"
            await self._send(act, "PUT", path, owner, {"visible": bool(act.shown)})
        elif kind is EventType.REVOKED:
            await self._send(act, "DELETE", f"{self._shares}/{self._token}", owner)

    async def _send(self, act: Act, method: str, path: str, user: str | None, body: object = None) -> httpx.Response:
        visitor = act.visitor
        key = visitor.key + self._story.number * 997
        headers = {
            "User-Agent": visitor.user_agent,
            "X-Forwarded-For": f"10.{key >> 16 & 255}.{key >> 8 & 255}.{key & 255}",
            "CF-IPCountry": visitor.country,
        }
        if visitor.referrer:
            headers["Referer"] = visitor.referrer
        if user:
            headers["Authorization"] = f"Bearer {self._token_of(user)}"
        answer = await self._http.request(method, path, json=body, headers=headers)
        self._answers.note(act.kind, answer.status_code)
        return answer
