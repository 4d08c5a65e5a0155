"""The producer of share events against a real broker, and against none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clients.faults import Unavailable
from clients.producer import EventProducer
from config.settings import KafkaSettings
from schemas.event import EventType
from schemas.ids import new_share_token
from tests.lab import CODEC, NOWHERE, Lab, event, eventually, open_lab


@asynccontextmanager
async def producing(kafka: KafkaSettings) -> AsyncIterator[EventProducer]:
    producer = EventProducer(kafka, CODEC)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        yield lab


@pytest.fixture
def nobody() -> KafkaSettings:
    """A broker that is not there."""
    return KafkaSettings(bootstrap_servers=NOWHERE, send_timeout_seconds=0.3)


def patient(lab: Lab) -> KafkaSettings:
    """Its broker, for tests that are not about a time-out."""
    return lab.kafka.model_copy(update={"send_timeout_seconds": 30.0})


async def test_a_thousand_at_once_are_all_acknowledged(lab: Lab) -> None:
    heard: list[Exception | None] = []
    async with producing(patient(lab)) as producer:
        views = [event(EventType.VIEWED, new_share_token()) for _ in range(1_000)]
        for view in views[500:]:
            producer.send_later(view, heard.append)
        await asyncio.gather(*(producer.send(view) for view in views[:500]))
        await eventually(lambda: _of_length(heard, 500), 30, "every one is settled")
    assert set(heard) == {None}
    assert sum(lab.end_offsets().values()) == len(views)


async def test_what_is_under_way_is_sent_before_the_producer_closes(lab: Lab) -> None:
    async with producing(patient(lab)) as producer:
        views = [event(EventType.VIEWED, new_share_token()) for _ in range(200)]
        for view in views:
            producer.send_later(view)
    assert sum(lab.end_offsets().values()) == len(views)


async def test_without_a_broker_everybody_hears_of_it_in_time(nobody: KafkaSettings) -> None:
    heard: list[Exception | None] = []
    producer = EventProducer(nobody, CODEC)
    await producer.start()
    began = time.monotonic()
    producer.send_later(event(EventType.VIEWED, new_share_token()), heard.append)
    with pytest.raises(Unavailable, match="in time"):
        await producer.send(event(EventType.VIEWED, new_share_token()))
    assert 0.3 <= time.monotonic() - began < 5
    assert [str(failure) for failure in heard] == ["Kafka: no acknowledgement in time"]
    await producer.close()


async def test_a_caller_who_leaves_takes_nobody_along(lab: Lab) -> None:
    async with producing(patient(lab)) as producer:
        leaves = asyncio.create_task(producer.send(event(EventType.VIEWED, new_share_token())))
        stays = asyncio.create_task(producer.send(event(EventType.VIEWED, new_share_token())))
        await asyncio.sleep(0)
        leaves.cancel()
        await stays
    assert leaves.cancelled()


async def test_before_it_is_started_it_says_so() -> None:
    with pytest.raises(Unavailable, match="not started"):
        await EventProducer(KafkaSettings(), CODEC).send(event(EventType.VIEWED, new_share_token()))


async def _of_length(heard: list[Exception | None], wanted: int) -> bool:
    return len(heard) == wanted
