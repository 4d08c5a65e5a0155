"""Browsers and renderers killed, a bucket that fails: every share ends with its own picture, drawn once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import psutil
import pytest

from clients.objects import ObjectStore, preview_key
from config.settings import ObjectStoreSettings
from ops.seed import key_of
from schemas.event import ShareEvent
from schemas.ids import public_wishlist_id, uuid7
from tests.lab import ROOT, Lab, event, eventually
from tests.service_proxy import ServiceProxy, open_proxy

CARDS = int(os.environ.get("FAULT_CARDS", "40"))
BROWSER_KILLS = int(os.environ.get("FAULT_BROWSER_KILLS", "4"))
RENDERER_KILLS = int(os.environ.get("FAULT_RENDERER_KILLS", "2"))
BUCKET_OUTAGE_SECONDS = float(os.environ.get("FAULT_BUCKET_OUTAGE_SECONDS", "8"))
WITHIN_SECONDS = 600.0
# Cards that one renderer may have drawn and not yet told of when it is killed: two for each of six pages.
UNDER_WAY = 12


class Renderer:
    """svc-og-renderer as a process that can be killed and started again on the same port."""

    def __init__(self, lab: Lab, bucket: str, logs: Path) -> None:
        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {**lab.env, "RENDERER_PORT": str(self.port), "R2_ENDPOINT_URL": bucket}
        self._log = (logs / "renderer.log").open("ab")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "renderer_worker"]
        return subprocess.Popen(words, cwd=ROOT, env=self._env, stdout=self._log, stderr=self._log)

    def restart(self) -> None:
        self.process = self._start()

    def browsers(self) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.process.pid).children(recursive=True) if _is_browser(one)]

    def kill(self) -> None:
        root = psutil.Process(self.process.pid)
        for one in [root, *root.children(recursive=True)]:
            one.kill()
        self.process.wait(10)

    async def healthy(self) -> bool:
        async with httpx.AsyncClient(timeout=20) as http:
            try:
                return (await http.get(f"{self.url}/healthz")).status_code == 200
            except httpx.TransportError:
                return False


def _is_browser(process: psutil.Process) -> bool:
    try:
        return process.name() == "chromium" and not any("--type=" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


async def shares(lab: Lab, count: int) -> list[ShareEvent]:
    """So many created shares, each of a list of its own: no two cards are alike."""
    events = []
    for number in range(count):
        wishlist = uuid7()
        await lab.pool.execute(
            "INSERT INTO wishlists (id, public_id, owner_id, title) VALUES ($1, $2, $3, $4)",
            wishlist,
            public_wishlist_id(wishlist),
            key_of("user_maya"),
            f"{uuid7()} number {number}",
        )
        await lab.pool.execute(
            """INSERT INTO wishlist_items (id, public_id, wishlist_id, product_id, added_at)
               SELECT gen_random_uuid(), 'wli_' || gen_random_uuid(), $1, product_id, added_at FROM wishlist_items
               WHERE wishlist_id = $2""",
            wishlist,
            key_of("wl_8a2b3c4d5e6f"),
        )
        events.append(event(wishlist_id=wishlist))
    return events


@asynccontextmanager
async def rendering(lab: Lab, logs: Path) -> AsyncIterator[tuple[Renderer, ServiceProxy]]:
    """A renderer and a preview agent at work."""
    async with open_proxy(os.environ["R2_ENDPOINT_URL"]) as bucket:
        renderer = Renderer(lab, bucket.url, logs)
        try:
            await eventually(renderer.healthy, 60, "the renderer is up")
            lab.start("preview", RENDERER_URL=renderer.url, RENDERER_BREAKER_WAIT_DURATION_IN_OPEN_STATE_SECONDS="2")
            yield renderer, bucket
        finally:
            renderer.kill()


async def done(lab: Lab) -> int:
    count: int = await lab.pool.fetchval("SELECT count(*) FROM previews WHERE state = 'done'")
    return count


async def all_have_their_own(lab: Lab, events: list[ShareEvent]) -> None:
    """Every share has a picture, and no two shares the same one."""

    async def finished() -> bool:
        return await done(lab) == len(events)

    await eventually(finished, WITHIN_SECONDS, f"{len(events)} pictures")
    store = ObjectStore(ObjectStoreSettings(endpoint_url=os.environ["R2_ENDPOINT_URL"]))
    pictures = [await store.get(preview_key(event.share_token)) for event in events]
    assert None not in pictures
    assert len({hashlib.sha256(picture or b"").digest() for picture in pictures}) == len(events)


def drawn_once(bucket: ServiceProxy, logs: Path) -> bool:
    """Whether no card was drawn again but for a stored picture that the renderer could not look up in time."""
    unanswered = (logs / "renderer.log").read_text().count("stored picture not looked up")
    return sum(bucket.drawn.values()) <= len(bucket.drawn) + unanswered


async def moving(lab: Lab, above: int) -> None:
    async def more() -> bool:
        return await done(lab) > above

    await eventually(more, 120, f"more than {above} pictures")


async def test_all_asked_for_at_once(lab: Lab, tmp_path: Path) -> None:
    events = await shares(lab, CARDS)
    async with rendering(lab, tmp_path) as (_, bucket):
        lab.produce_events(events)
        await all_have_their_own(lab, events)
        assert drawn_once(bucket, tmp_path)
        assert len(bucket.drawn) == len(events)


async def test_browsers_killed(lab: Lab, tmp_path: Path) -> None:
    events = await shares(lab, CARDS)
    dice = random.Random(3)
    async with rendering(lab, tmp_path) as (renderer, bucket):
        lab.produce_events(events)
        killed = 0
        for number in range(BROWSER_KILLS):
            await moving(lab, number * len(events) // (BROWSER_KILLS + 1))
            if browsers := renderer.browsers():
                dice.choice(browsers).kill()
                killed += 1
        assert killed >= BROWSER_KILLS * 0.8
        await all_have_their_own(lab, events)
        # A card whose browser died is drawn again, but had not been stored: nothing is stored twice.
        assert drawn_once(bucket, tmp_path)


async def test_the_renderer_killed(lab: Lab, tmp_path: Path) -> None:
    events = await shares(lab, CARDS)
    async with rendering(lab, tmp_path) as (renderer, bucket):
        lab.produce_events(events)
        for number in range(RENDERER_KILLS):
            await moving(lab, number * len(events) // (RENDERER_KILLS + 1))
            renderer.kill()
            renderer.restart()
        await all_have_their_own(lab, events)
        assert len(bucket.drawn) == len(events)
        assert sum(bucket.drawn.values()) <= len(events) + RENDERER_KILLS * UNDER_WAY


@pytest.mark.parametrize("outage", [False, True], ids=["every tenth call fails", "nothing answers for a while"])
async def test_the_bucket_fails(lab: Lab, tmp_path: Path, outage: bool) -> None:
    events = await shares(lab, CARDS)
    async with rendering(lab, tmp_path) as (_, bucket):
        bucket.fail_every = 0 if outage else 10
        lab.produce_events(events)
        await moving(lab, len(events) // 10)
        if outage:
            bucket.down = True
            await asyncio.sleep(BUCKET_OUTAGE_SECONDS)
            bucket.down = False
        await all_have_their_own(lab, events)
        assert set(bucket.drawn.values()) == {1}
        assert len(bucket.drawn) == len(events)
