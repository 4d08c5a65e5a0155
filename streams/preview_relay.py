"""Takes due previews under a lease and has svc-og-renderer make them, as often as it takes."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cards.data import HEIGHT, WIDTH
from clients import breaker_board, metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from config.settings import BreakerSettings, RedisSettings, RendererSettings
from streams.breaker import CircuitBreaker, State
from streams.preview_card import card_of
from streams.preview_fallback import FallbackCards

BREAKER = "og-renderer-cb"
_LEASE_SECONDS = 30
_IDLE_SECONDS = 0.25
_TELL_EVERY_SECONDS = 1.0
# How long the API believes a worker that says no more.
_WORD_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60
# The body of ``POST /render`` (spec, "Internal HTTP Traces — OG Renderer Service"), but for token and data.
_REQUEST = {
    "template": "wishlist-share",
    "output": {"format": "png", "width": WIDTH, "height": HEIGHT, "quality": 85},
}
# Answers that say the request itself is wrong: asking again cannot help.
_FINAL = frozenset({400, 413, 422})

_TAKE = """
    UPDATE previews SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempts = attempts + 1
    WHERE share_id = (
        SELECT share_id FROM previews
        WHERE state = 'due' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
        ORDER BY (fallback = 'drawn'), due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING share_id, share_token, wishlist_id, attempts"""


class PreviewRelay:
    """Renders as many previews at once as it may; the lease keeps two of them, and two workers, off the same one.

    While the breaker is open no row is taken: those that wait get a card that needs no browser, and are rendered once
    it closes. While the operator has pictures stopped they get neither.
    """

    def __init__(
        self,
        database: Database,
        renderer: RendererSettings,
        breaker: BreakerSettings,
        redis: RedisSettings,
        fallback: FallbackCards,
    ) -> None:
        self._database = database
        self._renderer = renderer
        self._fallback = fallback
        self._redis = Redis.from_url(
            redis.url, socket_timeout=redis.timeout_seconds, socket_connect_timeout=redis.timeout_seconds
        )
        self._forced_open = False
        self._tell_at = 0.0
        self._owner = uuid4().hex
        self._breaker = CircuitBreaker(breaker, self._breaker_changed)
        self._show_breaker()

    async def run(self) -> None:
        """Relay until cancelled."""
        async with (
            httpx.AsyncClient(base_url=self._renderer.url, timeout=self._renderer.longest_seconds + 1) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self._renderer.relay_renders):
                group.create_task(self._work(http))

    async def _work(self, http: httpx.AsyncClient) -> None:
        """Render one preview after another."""
        while True:
            try:
                if not await self.round(http):
                    await asyncio.sleep(_IDLE_SECONDS)
            except FAULTS as error:
                get_logger().warning("preview relay waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def round(self, http: httpx.AsyncClient) -> bool:
        """Render one preview, or, while the breaker is open, draw one's card; whether there was one."""
        pool = await self._database.pool()
        if await self._may_render():
            return await self._render_one(pool, http)
        return not self._forced_open and await self._fallback.draw_one(pool)

    async def _may_render(self) -> bool:
        """Whether a call may be made now; tells the API of the breaker, and hears of the operator, on the way."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_EVERY_SECONDS
            try:
                self._forced_open = await breaker_board.is_forced(self._redis)
                if self._breaker.state is State.OPEN:
                    await breaker_board.put_open(self._redis, self._owner, _WORD_SECONDS)
                else:
                    await breaker_board.put_closed(self._redis, self._owner)
            except (RedisError, OSError, TimeoutError) as error:
                get_logger().warning("nobody hears of the breaker", error=f"{type(error).__name__}: {error}")
        return not self._forced_open and self._breaker.try_acquire()

    async def _render_one(self, pool: asyncpg.Pool, http: httpx.AsyncClient) -> bool:
        """Render the row that is due first, if there is one. The breaker has given its permission."""
        called = False
        try:
            job = await pool.fetchrow(_TAKE, self._owner, float(_LEASE_SECONDS))
            if job is None:
                return False
            card = await card_of(pool, job["share_id"], job["wishlist_id"])
            called = True
            answer = await self._call(http, {**_REQUEST, "share_token": job["share_token"], "data": card})
        finally:
            if not called:
                self._breaker.release()
        if isinstance(answer, str):
            await self._failed(pool, job, answer)
        elif answer.status_code in _FINAL:
            await self._refused(pool, job, answer.text)
        else:
            await self._done(pool, job, answer.json())
        return True

    async def _call(self, http: httpx.AsyncClient, request: dict[str, Any]) -> httpx.Response | str:
        """The renderer's answer, or why there is none worth having; the breaker hears of it either way."""
        began = time.monotonic()
        answer: httpx.Response | str
        try:
            answer = await http.post("/render", json=request, headers={"X-Circuit-Breaker": BREAKER})
            if answer.is_success:
                answer.json()
            elif answer.status_code not in _FINAL:
                answer = f"status {answer.status_code}: {answer.text}"
        except (httpx.HTTPError, ValueError) as error:
            answer = f"{type(error).__name__}: {error}"
        self._breaker.record(failed=isinstance(answer, str), seconds=time.monotonic() - began)
        self._show_breaker()
        return answer

    async def _done(self, pool: asyncpg.Pool, job: Any, made: dict[str, Any]) -> None:
        """Its work is done, unless it was asked for anew (no attempt since): what was drawn may be of before."""
        await pool.execute(
            """UPDATE previews SET state = CASE WHEN state = 'due' AND attempts > 0 THEN 'done' ELSE state END,
                      fallback = CASE WHEN attempts > 0 THEN 'none' ELSE fallback END, content_hash = $2,
                      image_url = $3, rendered_at = now(), last_error = NULL, lease_owner = NULL, lease_until = NULL
               WHERE share_id = $1 AND lease_owner = $4""",
            job["share_id"],
            made["cache_key"],
            made["image_url"],
            self._owner,
        )
        metrics.PREVIEWS_DONE.labels("rendered").inc()

    async def _failed(self, pool: asyncpg.Pool, job: Any, why: str) -> None:
        """Another try, later and later."""
        metrics.PREVIEWS_DONE.labels("failed").inc()
        await pool.execute(
            """UPDATE previews SET lease_until = NULL, lease_owner = NULL, last_error = $2,
                      due_at = now() + make_interval(secs => $3)
               WHERE share_id = $1 AND lease_owner = $4""",
            job["share_id"],
            why[:500],
            random.uniform(0.5, min(2.0 ** job["attempts"], _LONGEST_PAUSE_SECONDS)),
            self._owner,
        )

    def _breaker_changed(self, old: State, new: State) -> None:
        get_logger().warning("circuit breaker", name=BREAKER, state=new, was=old)
        self._tell_at = 0.0
        self._show_breaker()

    def _show_breaker(self) -> None:
        for state in State:
            metrics.BREAKER_STATE.labels(BREAKER, state).set(state is self._breaker.state)
        metrics.BREAKER_FAILURE_RATE.labels(BREAKER).set(self._breaker.failure_rate)
        metrics.BREAKER_SLOW_CALL_RATE.labels(BREAKER).set(self._breaker.slow_call_rate)

    async def _refused(self, pool: asyncpg.Pool, job: Any, why: str) -> None:
        """The renderer will never take this card: the share keeps the generic picture."""
        metrics.PREVIEWS_DONE.labels("refused").inc()
        get_logger().error("preview refused", share_id=str(job["share_id"]), why=why[:500])
        await pool.execute(
            """UPDATE previews SET state = 'refused', last_error = $2, lease_owner = NULL, lease_until = NULL
               WHERE share_id = $1 AND lease_owner = $3""",
            job["share_id"],
            why[:500],
            self._owner,
        )
