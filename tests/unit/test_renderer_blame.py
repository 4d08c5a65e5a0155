"""An unexpected error under one card: the card is to blame where another card can still be drawn."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from clients.objects import ObjectStore
from config.settings import RendererSettings
from renderer_worker.app import App
from renderer_worker.browser import BrowserPool
from renderer_worker.browserless import BrowserlessEngine
from renderer_worker.engine import Engine
from renderer_worker.errors import BrowserUnavailable, PageTimeout, PoolExhausted, UploadFailed
from renderer_worker.service import Renderer

CARD = {
    "template": "wishlist-share",
    "data": {"wishlist_title": "List", "owner_name": "Maya", "items": [], "item_count": 0},
}


class Sick:
    """A renderer that fails with *error*."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def render(self, *_: object) -> None:
        raise self.error


class Proves:
    """An engine that says whether a canary is drawn, and how often it was asked."""

    def __init__(self, sound: bool) -> None:
        self.sound = sound
        self.asked: list[float] = []

    async def prove(self, within: float) -> bool:
        self.asked.append(within)
        return self.sound


def answer(error: Exception, sound: bool) -> tuple[int, dict[str, Any], Proves]:
    engine = Proves(sound)
    app = App(cast(Renderer, Sick(error)), cast(Engine, engine), cast(ObjectStore, None), RendererSettings())
    client = TestClient(Starlette(routes=[Route("/render", app.render, methods=["POST"])]))
    found = client.post("/render", content=json.dumps(CARD), headers={"X-Request-ID": "req_1"})
    return found.status_code, found.json(), engine


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), KeyError("x"), struct.error("short"), OverflowError(), RecursionError(), MemoryError(),
     ExceptionGroup("several", [TypeError()])],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_card_is_to_blame_where_another_can_be_drawn(error: Exception) -> None:
    status, body, engine = answer(error, sound=True)
    assert (status, body["error"], body["request_id"]) == (422, "CARD_NOT_DRAWABLE", "req_1")
    assert engine.asked == [0.0], "a card of before proves nothing"
    status, body, _ = answer(error, sound=False)
    assert (status, body["error"]) == (500, "RENDER_FAILED")


@pytest.mark.parametrize(
    ("error", "status"),
    [(PoolExhausted(), 503), (BrowserUnavailable(), 503), (PageTimeout(), 504), (UploadFailed(), 502)],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_the_services_own_faults_are_no_cards(error: Exception, status: int) -> None:
    found, _, engine = answer(error, sound=True)
    assert (found, engine.asked) == (status, [])


class Drawing:
    """Counts canaries; each ends in *error*, or is drawn."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.canaries = 0

    def draw(self, card: dict[str, Any]) -> bytes:
        self.canaries += 1
        if self.error is not None:
            raise self.error
        return b"a picture"


@pytest.mark.parametrize("error", [None, ValueError("no fonts"), OSError("disk"), RecursionError()], ids=repr)
async def test_a_hundred_bad_cards_cost_one_canary_which_never_raises(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    drawing = Drawing(error)
    monkeypatch.setattr("renderer_worker.browserless.CardDrawing", lambda: drawing)
    engine = BrowserlessEngine(page_seconds=5.0)
    found = await asyncio.gather(*(engine.prove(0.0) for _ in range(100)))
    assert set(found) == {error is None}
    assert drawing.canaries == 1
    assert await engine.prove(0.0) is (error is None)
    assert drawing.canaries == 2, "what was proved before says nothing of now"


@pytest.mark.parametrize("error", [ValueError("a defect"), PageTimeout()], ids=repr)
async def test_a_pools_canary_never_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def draw(*_: object) -> bytes:
        raise error

    pool = object.__new__(BrowserPool)
    monkeypatch.setattr(pool, "draw", draw)
    assert await pool._draw_canary() is False
