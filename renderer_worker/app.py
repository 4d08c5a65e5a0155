"""The renderer's HTTP edge: ``POST /render``, ``GET /healthz``, ``GET /metrics``."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cards.template import Template, load_template
from cards.thumbnails import open_thumbnails
from clients.logs import get_logger
from clients.metrics import (
    RENDER_ERRORS,
    RENDER_MEMORY,
    RENDER_POOL_AVAILABLE,
    RENDER_POOL_BUSY,
    RENDER_REQUESTS,
)
from clients.objects import ObjectStore
from config.settings import RendererSettings
from renderer_worker.browser import BrowserPool
from renderer_worker.chromium import Wear
from renderer_worker.engine import Engine
from renderer_worker.errors import CardNotDrawable, RenderError
from renderer_worker.memory import resident_bytes
from renderer_worker.requests import InvalidRequest, parse
from renderer_worker.service import Renderer

MAX_BODY_BYTES = 262_144
R2_CHECK_SECONDS = 5.0
# How fresh a card must be to prove that the next one can be drawn; without one a canary is.
PROOF_SECONDS = 5.0

_log = get_logger()


class App:
    """The routes, over their parts."""

    def __init__(self, renderer: Renderer, engine: Engine, store: ObjectStore, settings: RendererSettings) -> None:
        self._renderer = renderer
        self._engine = engine
        self._store = store
        self._settings = settings
        self._started = time.monotonic()
        self._r2_checked = float("-inf")
        self._r2_ok = False

    async def render(self, request: Request) -> Response:
        """Draw a card, store it, say where."""
        started = time.perf_counter()
        headers = {"X-Request-ID": request_id} if (request_id := request.headers.get("X-Request-ID")) else {}
        RENDER_REQUESTS.inc()
        try:
            body = await _body(request)
            wanted = parse(body)
            rendered = await self._renderer.render(wanted, self._timeout(request))
        except InvalidRequest as error:
            return JSONResponse(
                {"error": "INVALID_REQUEST", "message": str(error), "field": error.field, "request_id": request_id},
                status_code=422,
                headers=headers,
            )
        except RenderError as error:
            _log.warning("render failed", error=error.code, reason=str(error), request_id=request_id)
            return _failure(error, request_id, headers)
        except Exception as error:
            _log.exception("render failed by a bug", request_id=request_id)
            return _failure(await self._blame(error), request_id, headers)
        elapsed = round((time.perf_counter() - started) * 1000)
        return JSONResponse(
            {
                "image_url": rendered.image_url,
                "cache_key": f"sha256:{rendered.cache_key}",
                "cache_ttl_seconds": self._settings.cache_ttl_seconds,
                "render_time_ms": elapsed,
                "image_size_bytes": rendered.size,
            },
            headers={**headers, "X-Render-Time-Ms": str(elapsed)},
            media_type="application/json; charset=utf-8",
        )

    async def healthz(self, request: Request) -> Response:
        """Whether cards can be drawn and stored: 200 if so, else 503. Proved by a picture, not by a connection."""
        browser, bucket = await asyncio.gather(self._engine.prove(PROOF_SECONDS), self._bucket_answers())
        age = self._engine.proof_age
        return JSONResponse(
            {
                "status": "healthy" if browser and bucket else "unhealthy",
                "browser_pool": {
                    "total": self._engine.total,
                    "available": self._engine.available if browser else 0,
                    "busy": self._engine.busy,
                },
                "r2_connection": "ok" if bucket else "error",
                "uptime_seconds": int(time.monotonic() - self._started),
                "canary_age_seconds": round(age, 1),
            },
            status_code=200 if browser and bucket else 503,
        )

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        RENDER_POOL_AVAILABLE.set(self._engine.available)
        RENDER_POOL_BUSY.set(self._engine.busy)
        RENDER_MEMORY.set(await asyncio.to_thread(resident_bytes))
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def _blame(self, error: Exception) -> RenderError:
        """Whose fault an unexpected *error* under one card is: the card's where another card is drawn after it.

        A caller's breaker must not open over one card. All failures at a time share one canary, which has its own end.
        """
        if await self._engine.prove(0.0):
            return CardNotDrawable(f"{type(error).__name__}; the log says more, and other cards are drawn")
        return RenderError("unexpected; the log says more")

    def _timeout(self, request: Request) -> float:
        """Seconds that the caller waits (``X-Timeout-Ms``), at most what queue and page may take together."""
        stated = request.headers.get("X-Timeout-Ms", "")
        longest = self._settings.longest_seconds
        return min(longest, int(stated) / 1000) if re.fullmatch("[1-9][0-9]{0,8}", stated) else longest

    async def _bucket_answers(self) -> bool:
        # Asked every few seconds at most: probes come often and each would wait for the bucket.
        if time.monotonic() - self._r2_checked > R2_CHECK_SECONDS:
            self._r2_ok = await self._store.healthy()
            self._r2_checked = time.monotonic()
        return self._r2_ok


def _failure(error: RenderError, request_id: str | None, headers: dict[str, str]) -> Response:
    RENDER_ERRORS.labels(error.code.lower()).inc()
    if error.retry_after is not None:
        headers = {**headers, "Retry-After": str(error.retry_after)}
    body = {"error": error.code, "message": str(error), "request_id": request_id}
    return JSONResponse(body, status_code=error.status, headers=headers)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise InvalidRequest("body", f"longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def create_app(settings: RendererSettings, store: ObjectStore, cdn_url: str) -> Starlette:
    """Build the service; the browser starts with the application and ends with it."""
    template = load_template()
    engine = _engine(settings, template)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_thumbnails(settings.image_hosts, settings.thumbnail_dir) as thumbnails:
            renderer = Renderer(
                engine=engine,
                thumbnails=thumbnails,
                store=store,
                template_version=template.version,
                cdn_url=cdn_url,
                cache_ttl_seconds=settings.cache_ttl_seconds,
                queue_seconds=settings.queue_seconds,
                queue_length=settings.queue_length,
            )
            routes = App(renderer, engine, store, settings)
            app.router.routes += [
                Route("/render", routes.render, methods=["POST"]),
                Route("/healthz", routes.healthz),
                Route("/metrics", routes.metrics),
            ]
            await engine.start()
            try:
                yield
            finally:
                await engine.close()

    return Starlette(lifespan=lifespan)


def _engine(settings: RendererSettings, template: Template) -> Engine:
    if settings.engine == "browserless":
        # Loaded where it is wanted only: docs/decisions/007-browserless-cards.md.
        from renderer_worker.browserless import BrowserlessEngine

        return BrowserlessEngine(settings.timeout_seconds)
    return BrowserPool(
        settings.chromium_path,
        settings.browsers,
        settings.pages_per_browser,
        settings.timeout_seconds,
        template,
        Wear(settings.browser_cards, settings.browser_memory_mb * 1_000_000),
    )
