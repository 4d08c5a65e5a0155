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

from clients import breaker_board, metrics
from clients.logs import get_logger
from clients.postgres import Database
from config.settings import BreakerSettings, RedisSettings, RendererSettings
from streams.breaker import CircuitBreaker, State

BREAKER = "og-renderer-cb"
_LEASE_SECONDS = 30
_IDLE_SECONDS = 0.25
_TELL_EVERY_SECONDS = 1.0
# How long the API believes a worker that says no more.
_WORD_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60
# Answers that say the request itself is wrong: asking again cannot help.
_FINAL = frozenset({400, 413, 422})
_CARD_ITEMS = 4
_LONGEST_URL = 2_048
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}

_TAKE = """
    UPDATE previews SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempts = attempts + 1
    WHERE share_id = (
        SELECT share_id FROM previews
        WHERE state = 'due' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING share_id, share_token, wishlist_id, attempts"""
_CARD = """
    SELECT w.title, u.display_name, count(*) OVER () AS item_count, p.name, p.price, p.currency, p.image_url
    FROM wishlists w
    JOIN users u ON u.id = w.owner_id
    LEFT JOIN wishlist_items i ON i.wishlist_id = w.id AND i.removed_at IS NULL
    LEFT JOIN share_item_visibility v ON v.share_id = $2 AND v.item_id = i.id
    LEFT JOIN products p ON p.id = i.product_id
    WHERE w.id = $1 AND i.id IS NOT NULL AND coalesce(v.visible, TRUE)
    ORDER BY i.added_at, i.id LIMIT $3"""


class PreviewRelay:
    """Renders as many previews at once as it may; the lease keeps two of them, and two workers, off the same one.

    While the breaker is open no row is taken: the API serves the generic picture for those that wait, and they are
    rendered once it closes.
    """

    def __init__(
        self, database: Database, renderer: RendererSettings, breaker: BreakerSettings, redis: RedisSettings
    ) -> None:
        self._database = database
        self._renderer = renderer
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
                pool = await self._database.pool()
                if not await self._may_render() or not await self._render_one(pool, http):
                    await asyncio.sleep(_IDLE_SECONDS)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                get_logger().warning("preview relay waits", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

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
            request = await self._request(pool, job)
            called = True
            answer = await self._call(http, request)
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
        await pool.execute(
            """UPDATE previews SET state = CASE WHEN state = 'due' THEN 'done' ELSE state END, content_hash = $2,
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

    async def _request(self, pool: asyncpg.Pool, job: Any) -> dict[str, Any]:
        """The body of ``POST /render`` (spec, "Internal HTTP Traces — OG Renderer Service")."""
        rows = await pool.fetch(_CARD, job["wishlist_id"], job["share_id"], _CARD_ITEMS)
        if rows:
            title, owner, count = rows[0]["title"], rows[0]["display_name"], rows[0]["item_count"]
        else:
            head = await pool.fetchrow(
                "SELECT title, display_name FROM wishlists w JOIN users u ON u.id = w.owner_id WHERE w.id = $1",
                job["wishlist_id"],
            )
            title, owner, count = (head["title"], head["display_name"], 0) if head else ("Wishlist", "", 0)
        return {
            "template": "wishlist-share",
            "share_token": job["share_token"],
            "data": {
                "wishlist_title": title,
                "owner_name": owner,
                "items": [{"name": row["name"], "image": _image(row), "price": _price(row)} for row in rows],
                "item_count": count,
            },
            "output": {"format": "png", "width": 1200, "height": 630, "quality": 85},
        }


def _image(row: Any) -> str:
    # A picture written into its URL would make the request too long for the renderer to read any of it.
    url: str = row["image_url"] or ""
    return url if len(url) <= _LONGEST_URL else ""


def _price(row: Any) -> str:
    symbol = _SYMBOLS.get(row["currency"])
    return f"{symbol}{row['price']:,.2f}" if symbol else f"{row['price']:,.2f} {row['currency']}"
