"""svc-og-renderer as a process, with a real Chromium and a real (moto) bucket."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import psutil
import pytest
from PIL import Image, ImageChops, ImageStat

from cards.template import ASSETS
from config.settings import RendererSettings
from tests.lab import NOWHERE, free_port

ROOT = Path(__file__).parents[2]
BUCKET = "vantage-social-assets"
TOKEN = "7fB9xK2mN4pQ8rT1vW3y"
CREDENTIALS: dict[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}

pytestmark = pytest.mark.skipif(
    not Path(RendererSettings().chromium_path).exists(), reason="no Chromium at RENDERER_CHROMIUM_PATH"
)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ended with {process.returncode} before it answered"
        try:
            httpx.get(url, timeout=1)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def wait_for_pages(url: str) -> None:
    """The first page draws as soon as it is warm; the others are warmed meanwhile."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        pages = httpx.get(f"{url}/healthz", timeout=60).json()["browser_pool"]
        if pages["available"] == pages["total"]:
            return
        time.sleep(0.1)
    raise AssertionError(f"not every page is warm: {pages}")


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        resource = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{port}", **CREDENTIALS)
        resource.create_bucket(Bucket=BUCKET)
        yield resource.Bucket(BUCKET)
    finally:
        process.kill()
        process.wait()


def start(bucket: Any, **settings: str) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "R2_ENDPOINT_URL": bucket.meta.client.meta.endpoint_url,
        "R2_BUCKET": BUCKET,
        "RENDERER_HOST": "127.0.0.1",
        "RENDERER_PORT": port,
        "RENDERER_BROWSERS": "1",
        "RENDERER_PAGES_PER_BROWSER": "2",
        # Enough for a browser that starts again on a busy machine: what is about a time-out states its own.
        "RENDERER_TIMEOUT_SECONDS": "20",
        "RENDERER_QUEUE_SECONDS": "20",
        "RENDERER_THUMBNAIL_DIR": str(ASSETS / "thumbnails"),
        "API_CDN_URL": "https://cdn.vantage.com",
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "renderer_worker"], env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/healthz", process)
        wait_for_pages(url)
    except BaseException:
        process.kill()
        raise
    return process, url


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def service(bucket: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process, url = start(bucket)
    yield process, url
    stop(process)


@pytest.fixture
def renderer(service: tuple[subprocess.Popen[bytes], str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service[1], timeout=60) as client:
        yield client


def item(product: str, price: str | None = "$249.99") -> dict[str, Any]:
    return {"name": product, "image": f"https://cdn.vantage.com/products/{product}/thumb.jpg", "price": price}


ITEMS = [item("prod_1a2b3c"), item("prod_4d5e6f"), item("prod_7g8h9i"), item("prod_3m4n5o")]


def body(title: str, items: list[dict[str, Any]] = ITEMS, owner: str = "Maya C.", **more: Any) -> dict[str, Any]:
    data = {"wishlist_title": title, "owner_name": owner, "items": items, "item_count": 7}
    output = {"format": "png", "width": 1200, "height": 630, "quality": 85}
    return {"template": "wishlist-share", "data": data, "output": output, **more}


def stored(bucket: Any, image_url: str) -> bytes:
    data: bytes = bucket.Object(urlsplit(image_url).path[1:]).get()["Body"].read()
    return data


def metric(renderer: httpx.Client, name: str) -> float:
    lines = renderer.get("/metrics").text.splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name} ")), 0))


def test_the_traces_exchange(renderer: httpx.Client, bucket: Any) -> None:
    headers = {"X-Request-ID": "req_ogr_001", "X-Circuit-Breaker": "og-renderer-cb", "X-Timeout-Ms": "5000"}
    answer = renderer.post("/render", json=body("Holiday Gift Ideas 2025", share_token=TOKEN), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-request-id"] == "req_ogr_001"
    said = answer.json()
    assert list(said) == ["image_url", "cache_key", "cache_ttl_seconds", "render_time_ms", "image_size_bytes"]
    assert said["image_url"] == f"https://cdn.vantage.com/social/{TOKEN}/preview.png"
    assert said["cache_key"].startswith("sha256:")
    assert len(said["cache_key"]) == len("sha256:a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6")
    assert said["cache_ttl_seconds"] == 86400
    assert answer.headers["x-render-time-ms"] == str(said["render_time_ms"])
    picture = stored(bucket, said["image_url"])
    assert len(picture) == said["image_size_bytes"] < 300_000
    with Image.open(io.BytesIO(picture)) as card:
        assert (card.format, card.size) == ("PNG", (1200, 630))
    kept = bucket.Object(f"social/{TOKEN}/preview.png").get()
    assert kept["ContentType"] == "image/png"
    assert kept["CacheControl"] == "public, max-age=86400"


def test_health_is_the_traces(renderer: httpx.Client) -> None:
    answer = renderer.get("/healthz", headers={"X-Health-Check": "true"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert isinstance(said.pop("uptime_seconds"), int)
    assert 0 <= said.pop("canary_age_seconds") <= 10
    assert said == {
        "status": "healthy",
        "browser_pool": {"total": 2, "available": 2, "busy": 0},
        "r2_connection": "ok",
    }


def test_without_a_token_the_path_is_the_contents(renderer: httpx.Client, bucket: Any) -> None:
    said = renderer.post("/render", json=body("No token")).json()
    key = said["cache_key"].removeprefix("sha256:")
    assert said["image_url"] == f"https://cdn.vantage.com/social/by-content/{key}/preview.png"
    assert stored(bucket, said["image_url"])


def test_an_equal_card_is_copied_not_drawn(renderer: httpx.Client, bucket: Any) -> None:
    first = renderer.post("/render", json=body("Twice", share_token="a" * 22)).json()
    drawn = metric(renderer, "og_render_duration_seconds_count")
    again = renderer.post("/render", json=body("Twice", share_token="b" * 22)).json()
    assert metric(renderer, "og_render_duration_seconds_count") == drawn
    assert again["cache_key"] == first["cache_key"]
    assert stored(bucket, again["image_url"]) == stored(bucket, first["image_url"])


async def test_equal_cards_at_the_same_time_are_drawn_once(renderer: httpx.Client, bucket: Any) -> None:
    drawn = metric(renderer, "og_render_duration_seconds_count")
    async with httpx.AsyncClient(base_url=renderer.base_url, timeout=60) as client:
        answers = await asyncio.gather(
            *(client.post("/render", json=body("At once", share_token=f"{n:022d}")) for n in range(12))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert metric(renderer, "og_render_duration_seconds_count") == drawn + 1
    assert len({stored(bucket, answer.json()["image_url"]) for answer in answers}) == 1


def test_a_stale_picture_is_drawn_again(bucket: Any) -> None:
    process, url = start(bucket, RENDERER_CACHE_TTL_SECONDS="1")
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            client.post("/render", json=body("Stale")).raise_for_status()
            time.sleep(1.1)
            client.post("/render", json=body("Stale")).raise_for_status()
            assert metric(client, "og_render_duration_seconds_count") == 2
    finally:
        stop(process)


@pytest.mark.parametrize("count", range(5))
def test_every_number_of_items_has_a_card(renderer: httpx.Client, bucket: Any, count: int) -> None:
    said = renderer.post("/render", json=body(f"{count} items", ITEMS[:count])).json()
    with Image.open(io.BytesIO(stored(bucket, said["image_url"]))) as card:
        assert card.size == (1200, 630)


def pixels(bucket: Any, answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(stored(bucket, answer.json()["image_url"]))).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of a channel, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def test_hostile_text_is_drawn_as_text(renderer: httpx.Client, bucket: Any) -> None:
    """A page that a title could script would not come back as it was: the next card is drawn on the same pages."""
    attack = (
        "<img src=x onerror=\"document.body.innerHTML=''\"><script>document.body.remove()</script></template></style>"
    )
    first = renderer.post("/render", json=body("Calm"))
    before = pixels(bucket, first)
    for n in range(4):
        answer = renderer.post("/render", json=body(f"{attack}{n}", [item(attack[:40], "<b>1</b>")], owner=attack))
        assert answer.status_code == 200
    bucket.Object(urlsplit(first.json()["image_url"]).path[1:]).delete()
    after = pixels(bucket, renderer.post("/render", json=body("Calm")))
    # Not byte by byte: Chromium smooths an edge a shade differently from time to time.
    assert difference(before, after) < 0.5
    assert difference(before, pixels(bucket, answer)) > 5


def test_a_nameless_owner_has_a_card(renderer: httpx.Client) -> None:
    assert renderer.post("/render", json=body("Nameless", owner="")).status_code == 200


def test_a_missing_picture_is_tried_again_soon(renderer: httpx.Client, bucket: Any) -> None:
    said = renderer.post("/render", json=body("Missing", [item("prod_nowhere"), ITEMS[0]])).json()
    with Image.open(io.BytesIO(stored(bucket, said["image_url"]))) as card:
        assert float(card.info["Expires"]) <= time.time() + 60


def test_wrong_requests_name_the_field(renderer: httpx.Client) -> None:
    wrong = body("Wrong")
    wrong["data"]["item_count"] = "many"
    answer = renderer.post("/render", json=wrong, headers={"X-Request-ID": "req_1"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "data.item_count"
    assert answer.json()["error"] == "INVALID_REQUEST"
    assert answer.json()["request_id"] == "req_1"
    assert renderer.post("/render", content=b"x" * 300_000).json()["field"] == "body"
    assert renderer.get("/render").status_code == 405


def browsers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Each browser's main process: a Chromium that is not another Chromium's child."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [
        one
        for one in below
        if one.status() != psutil.STATUS_ZOMBIE
        and one.name() == "chromium"
        and not any("--type=" in part for part in one.cmdline())
    ]


def browser_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The only browser."""
    return browsers_of(process)[0]


def test_a_killed_browser_comes_back(
    renderer: httpx.Client, service: tuple[subprocess.Popen[bytes], str], bucket: Any
) -> None:
    browser_of(service[0]).kill()
    answer = renderer.post("/render", json=body("After the crash"))
    assert answer.status_code == 200
    assert stored(bucket, answer.json()["image_url"])
    assert renderer.get("/healthz").json()["status"] == "healthy"


def test_crashed_pages_come_back(renderer: httpx.Client, service: tuple[subprocess.Popen[bytes], str]) -> None:
    for one in psutil.Process(service[0].pid).children(recursive=True):
        if "--type=renderer" in " ".join(one.cmdline()):
            one.kill()
    for n in range(3):
        assert renderer.post("/render", json=body(f"After the page {n}")).status_code == 200


async def test_a_hung_browser_is_told_apart_and_replaced(bucket: Any) -> None:
    """504 for the cards on its pages; those that wait are drawn by the browser that takes its place."""
    process, url = start(bucket, RENDERER_TIMEOUT_SECONDS="10", RENDERER_QUEUE_SECONDS="60")
    frozen = browser_of(process)
    frozen.suspend()
    try:
        async with httpx.AsyncClient(base_url=url, timeout=90) as client:
            answers = await asyncio.gather(*(client.post("/render", json=body(f"Hung {n}")) for n in range(4)))
            assert sorted(answer.status_code for answer in answers) == [200, 200, 504, 504]
            assert (await client.get("/healthz")).json()["status"] == "healthy"
    finally:
        if frozen.is_running():
            frozen.kill()
        stop(process)


async def test_health_tells_of_a_browser_that_is_connected_and_draws_nothing(bucket: Any) -> None:
    process, url = start(bucket, RENDERER_TIMEOUT_SECONDS="60")
    frozen = browser_of(process)
    frozen.suspend()
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await asyncio.sleep(5.5)  # What was drawn before proves nothing any more.
            answer = await client.get("/healthz")
            assert answer.status_code == 503
            assert answer.json()["status"] == "unhealthy"
            assert answer.json()["browser_pool"]["available"] == 0
            assert answer.json()["canary_age_seconds"] > 5
            frozen.resume()
            for _ in range(100):
                if (answer := await client.get("/healthz")).status_code == 200:
                    break
                await asyncio.sleep(0.1)
            assert answer.status_code == 200
    finally:
        frozen.kill()
        stop(process)


async def test_a_full_queue_says_when_to_come_again(bucket: Any) -> None:
    process, url = start(bucket, RENDERER_QUEUE_SECONDS="1", RENDERER_QUEUE_LENGTH="2", RENDERER_TIMEOUT_SECONDS="60")
    frozen = browser_of(process)
    frozen.suspend()
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            # Four are let in for two pages, two of these wait for one; two more may queue, the rest may not.
            waiting = [asyncio.create_task(client.post("/render", json=body(f"Full {n}"))) for n in range(7)]
            done = set[asyncio.Task[httpx.Response]]()
            while len(done) < 5:
                answered, _ = await asyncio.wait(set(waiting) - done, timeout=30, return_when=asyncio.FIRST_COMPLETED)
                assert answered
                done |= answered
            refused = [task.result() for task in done]
            assert {answer.status_code for answer in refused} == {503}
            assert {answer.json()["error"] for answer in refused} == {"POOL_EXHAUSTED"}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
            assert sum("full" in answer.json()["message"] for answer in refused) == 1
            assert len(refused) == 5
            frozen.resume()
            drawn = [await task for task in waiting if task not in done]
            assert [answer.status_code for answer in drawn] == [200, 200]
    finally:
        frozen.kill()
        stop(process)


async def test_a_worn_out_browser_is_replaced_while_cards_are_drawn(bucket: Any) -> None:
    process, url = start(bucket, RENDERER_BROWSER_CARDS="5")
    first = browser_of(process)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for start_at in range(0, 24, 4):
                answers = await asyncio.gather(
                    *(client.post("/render", json=body(f"Worn {start_at + n}")) for n in range(4))
                )
                assert {answer.status_code for answer in answers} == {200}
            for _ in range(100):
                if not first.is_running():
                    break
                await asyncio.sleep(0.1)
            assert not first.is_running()
            assert (await client.get("/healthz")).status_code == 200
    finally:
        stop(process)


async def test_every_browser_of_the_pool_draws_and_comes_back(bucket: Any) -> None:
    process, url = start(bucket, RENDERER_BROWSERS="2")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            killed = browsers_of(process)
            assert len(killed) == 2
            for browser in killed:
                browser.kill()
            answers = await asyncio.gather(*(client.post("/render", json=body(f"Both {n}")) for n in range(8)))
            assert {answer.status_code for answer in answers} == {200}
            assert len(browsers_of(process)) == 2
    finally:
        stop(process)


def test_a_caller_in_a_hurry_is_answered_in_time(bucket: Any) -> None:
    process, url = start(bucket)
    frozen = browser_of(process)
    frozen.suspend()
    try:
        started = time.perf_counter()
        answer = httpx.post(f"{url}/render", json=body("Hurry"), headers={"X-Timeout-Ms": "700"}, timeout=60)
        assert answer.status_code == 504
        assert time.perf_counter() - started < 2
    finally:
        frozen.kill()
        stop(process)


def test_a_bucket_that_is_gone_is_said(bucket: Any) -> None:
    process, url = start(bucket, R2_ENDPOINT_URL=f"http://{NOWHERE}")
    try:
        answer = httpx.post(f"{url}/render", json=body("No bucket"), timeout=60)
        assert answer.status_code == 502
        assert answer.json()["error"] == "UPLOAD_FAILED"
        health = httpx.get(f"{url}/healthz", timeout=60)
        assert health.status_code == 503
        assert health.json()["r2_connection"] == "error"
    finally:
        stop(process)


def test_sigterm_leaves_no_browser_behind(bucket: Any) -> None:
    process, _ = start(bucket)
    below = psutil.Process(process.pid).children(recursive=True)
    stop(process)
    assert process.returncode in {0, -signal.SIGTERM}
    gone, alive = psutil.wait_procs(below, timeout=5)
    assert gone
    assert alive == []
