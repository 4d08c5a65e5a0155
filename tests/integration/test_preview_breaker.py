"""The preview relay and its breaker, with a renderer that fails until it is told otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from redis.asyncio import Redis

from api.breaker import BreakerView
from api.database import Database as ApiDatabase
from api.pictures import Picture, Pictures
from api.redis_gate import RedisGate
from cards.safe_fetch import SafeFetcher
from cards.template import ASSETS, FALLBACK_PICTURE
from cards.thumbnails import Thumbnails
from clients import breaker_board
from clients.objects import ObjectStore, preview_key
from clients.periodic import JobBoard, every
from clients.postgres import Database
from config.settings import BreakerSettings, ObjectStoreSettings, PostgresSettings, RendererSettings
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token, share_id_for
from sinks.contract import Batch, Move, Partition
from sinks.previews import PreviewQueue
from streams.outbox.worker import OutboxWorker
from streams.previews.fallback import FallbackOutbox
from streams.previews.gate import RendererGate
from streams.previews.rendering import RenderOutbox
from tests.lab import Lab, event, eventually, open_lab
from tests.redis_database import empty_redis, redis_settings

SHARES = 12
WAIT = 3.0
THUMBNAILS = ASSETS / "thumbnails"


class Renderer:
    """Speaks HTTP on a socket; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.works = False
        self.answers: dict[str, tuple[str, object]] = {}
        self.while_asked: Callable[[], Awaitable[None]] | None = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                token = json.loads(await reader.readexactly(length))["share_token"]
                self.asked.append(token)
                if self.while_asked is not None:
                    await self.while_asked()
                    self.while_asked = None
                status, body = (
                    ("200 OK", {"cache_key": "k", "image_url": f"http://cdn/{token}"})
                    if self.works
                    else ("500 Internal Server Error", {"error": "RENDER_FAILED"})
                )
                status, body = self.answers.get(token, (status, body))  # type: ignore[assignment]
                raw = json.dumps(body).encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
                await writer.drain()
        writer.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        for _ in range(SHARES):
            token = new_share_token()
            await lab.pool.execute(
                "INSERT INTO previews (share_id, share_token, wishlist_id, due_at) VALUES ($1, $2, $3, now())",
                share_id_for(token),
                token,
                key_of("wl_8a2b3c4d5e6f"),
            )
        yield lab


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with empty_redis("breaker") as redis:
        yield redis


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    server = await asyncio.start_server(renderer.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    renderer.url = f"http://{host}:{port}"
    yield renderer
    server.close()


async def test_an_open_breaker_spares_the_renderer_and_no_share_is_forgotten(
    lab: Lab, renderer: Renderer, redis: Redis
) -> None:
    async with relaying(lab, renderer):
        await eventually(lambda: breaker_board.any_open(redis), 30, "the breaker is open")
        assert len(renderer.asked) == 3, "the third failure opens it"
        assert await states(lab) == {"due": SHARES}

        renderer.works = True
        await eventually(lambda: all_done(lab), 30, "every share has its picture")
        assert len(renderer.asked) == 3 + SHARES
        await eventually(lambda: closed(redis), 30, "the API hears that it is closed")


async def test_while_it_is_open_cards_need_no_browser_and_then_the_oldest_view_goes_first(
    lab: Lab, renderer: Renderer
) -> None:
    store = ObjectStore(ObjectStoreSettings())
    async with relaying(lab, renderer, open_seconds=8.0):
        await eventually(lambda: all_have_a_fallback(lab), 30, "every share has a card without a browser")
        assert await states(lab) == {"due": SHARES}, "the renderer's card is still to come"
        pictures = set()
        for token in await tokens(lab):
            png = await store.get(preview_key(token))
            assert png is not None
            with Image.open(io.BytesIO(png)) as picture:
                assert picture.size == (1200, 630)
            pictures.add(png)
        assert len(pictures) == 1, "they are shares of one list"
        assert pictures != {FALLBACK_PICTURE.read_bytes()}, "it is their own"

        viewed = await tokens(lab)
        random.Random(4).shuffle(viewed)
        drawn_by = await lab.pool.fetchval("SELECT max(due_at) FROM previews")
        views = [
            event(EventType.VIEWED, token, timestamp=drawn_by + timedelta(milliseconds=number + 1))
            for number, token in enumerate(viewed)
        ]
        await apply(lab, random.Random(5).sample(views, SHARES))
        asked_before = len(renderer.asked)
        renderer.works = True
        await eventually(lambda: all_done(lab), 30, "every share has its picture")
        assert renderer.asked[asked_before:] == viewed
        assert await lab.pool.fetchval("SELECT count(*) FROM previews WHERE fallback = 'none'") == SHARES


async def test_a_change_while_its_card_is_drawn_is_not_missed(lab: Lab, renderer: Renderer) -> None:
    renderer.works = True
    token = (await tokens(lab))[0]
    await lab.pool.execute("DELETE FROM previews WHERE share_token <> $1", token)
    renderer.while_asked = lambda: apply(lab, [event(EventType.SETTINGS_CHANGED, token)])
    async with relaying(lab, renderer):
        await eventually(lambda: all_done(lab, 1), 30, "the share has its picture")
    assert renderer.asked == [token, token]


async def test_the_api_serves_the_card_that_stands_in_and_lets_nobody_keep_it(lab: Lab, redis: Redis) -> None:
    token, store = (await tokens(lab))[0], ObjectStore(ObjectStoreSettings())
    await store.put(preview_key(token), b"card", "image/png")
    pictures = Pictures(store=store, db=ApiDatabase(lab.pool, seconds=2), breaker=BreakerView(RedisGate(redis)))
    assert await pictures.of(token) is None, "nothing is drawn yet"
    await lab.pool.execute("UPDATE previews SET fallback = 'drawn' WHERE share_token = $1", token)
    assert await pictures.of(token) == Picture(b"card", passing=True)
    await lab.pool.execute("UPDATE previews SET fallback = 'none', rendered_at = now() WHERE share_token = $1", token)
    assert await pictures.of(token) == Picture(b"card", passing=False)


@pytest.mark.parametrize(
    "answer",
    [
        ("422 Unprocessable Entity", {"error": "CARD_NOT_DRAWABLE"}),
        ("413 Content Too Large", {}),
        ("400 Bad Request", ["no", "object"]),
    ],
    ids=lambda answer: answer[0],
)
async def test_one_card_that_cannot_be_drawn_costs_no_other_share_its_picture(
    lab: Lab, renderer: Renderer, redis: Redis, answer: tuple[str, object]
) -> None:
    renderer.works = True
    bad, store = (await tokens(lab))[:3], ObjectStore(ObjectStoreSettings())
    for token in bad:
        await store.delete(preview_key(token))
        renderer.answers[token] = answer
    async with relaying(lab, renderer):
        await eventually(lambda: holds(lab, {"done": SHARES - 3, "parked": 3}), 30, "the others have their pictures")

        async def stands_in() -> bool:
            return await lab.pool.fetchval("SELECT count(*) FROM previews WHERE fallback = 'drawn'") == 3

        await eventually(stands_in, 30, "a card without a browser stands in")
        assert not await breaker_board.any_open(redis), "the service is well"
    assert {renderer.asked.count(token) for token in bad} == {1}, "asking again cannot help"
    reasons = {row["reason"] for row in await lab.pool.fetch("SELECT reason FROM previews WHERE state = 'parked'")}
    assert all(reason.startswith(f"status {answer[0][:3]}") for reason in reasons)
    for token in bad:
        assert await store.get(preview_key(token)) is not None


@pytest.mark.parametrize("body", [{"image_url": "http://cdn/x"}, [], None, {"cache_key": 1, "image_url": "x"}], ids=str)
async def test_an_answer_without_its_fields_speaks_against_the_service(
    lab: Lab, renderer: Renderer, redis: Redis, body: object
) -> None:
    renderer.works = True
    for token in await tokens(lab):
        renderer.answers[token] = ("200 OK", body)
    async with relaying(lab, renderer):
        await eventually(lambda: breaker_board.any_open(redis), 30, "the breaker is open")
        renderer.answers.clear()
        await eventually(lambda: all_done(lab), 30, "every share has its picture")


async def test_a_card_that_neither_can_draw_keeps_the_generic_picture_at_once(
    lab: Lab, renderer: Renderer, redis: Redis
) -> None:
    token, store = (await tokens(lab))[0], ObjectStore(ObjectStoreSettings())
    pictures = Pictures(store=store, db=ApiDatabase(lab.pool, seconds=2), breaker=BreakerView(RedisGate(redis)))
    await lab.pool.execute("UPDATE previews SET state = 'parked', fallback = 'parked' WHERE share_token = $1", token)
    began = asyncio.get_running_loop().time()
    assert await pictures.of(token) is None
    assert asyncio.get_running_loop().time() - began < 1.0, "nothing is coming that could be waited for"


async def test_the_operator_can_stop_rendering(lab: Lab, renderer: Renderer, redis: Redis) -> None:
    renderer.works = True
    await breaker_board.force_open(redis)
    try:
        async with relaying(lab, renderer):
            await asyncio.sleep(1)
            assert not renderer.asked
            assert await breaker_board.any_open(redis), "the API serves the generic picture"
            await breaker_board.unforce(redis)
            await eventually(lambda: all_done(lab), 30, "every share has its picture")
    finally:
        await breaker_board.unforce(redis)


@asynccontextmanager
async def relaying(lab: Lab, renderer: Renderer, open_seconds: float = WAIT) -> AsyncIterator[None]:
    """A relay at work."""
    database, board = Database(PostgresSettings(dsn=lab.dsn)), JobBoard()
    settings = RendererSettings(url=renderer.url, relay_renders=1)
    gate = RendererGate(BreakerSettings(wait_duration_in_open_state_seconds=open_seconds), redis_settings("breaker"))
    pictures, store = Thumbnails(SafeFetcher(frozenset()), THUMBNAILS), ObjectStore(ObjectStoreSettings())
    async with (
        httpx.AsyncClient(base_url=renderer.url, timeout=10) as http,
        aclosing(FallbackOutbox(database, gate, pictures, store)) as fallback,
    ):
        running = [asyncio.create_task(every(0.0, gate.tell, name="board", board=board))]
        for outbox in (RenderOutbox(database, settings, gate, http), fallback):
            running.append(asyncio.create_task(OutboxWorker(outbox, database, board).run()))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def closed(redis: Redis) -> bool:
    return not await breaker_board.any_open(redis)


async def apply(lab: Lab, events: list[ShareEvent]) -> None:
    """Have the preview agent's sink take *events*."""
    sink = PreviewQueue(Database(PostgresSettings(dsn=lab.dsn)), f"test-{uuid4()}")
    partition = Partition("test", uuid4(), 0)
    await sink.positions({partition: 0})
    await sink.apply(Batch((Move(partition, 0, len(events)),), events))


async def tokens(lab: Lab) -> list[str]:
    return [row["share_token"] for row in await lab.pool.fetch("SELECT share_token FROM previews ORDER BY share_id")]


async def all_have_a_fallback(lab: Lab) -> bool:
    return bool(await lab.pool.fetchval("SELECT bool_and(fallback = 'drawn') FROM previews"))


async def holds(lab: Lab, wanted: dict[str, int]) -> bool:
    return await states(lab) == wanted


async def all_done(lab: Lab, shares: int = SHARES) -> bool:
    return await states(lab) == {"done": shares}


async def states(lab: Lab) -> dict[str, int]:
    rows = await lab.pool.fetch("SELECT state, count(*) FROM previews GROUP BY state")
    return {row["state"]: row["count"] for row in rows}
