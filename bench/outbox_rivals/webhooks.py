"""The webhooks' relay of before: a task a webhook, which takes the next delivery and notes its outcome."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from clients import metrics
from clients.logs import get_logger
from clients.postgres import DRIVER_ERRORS, Database
from clients.webhook_call import Answer, WebhookCaller
from config.settings import WebhookSettings

_LEASE_SPARE_SECONDS = 5

_TAKE = """
    WITH taken AS (
        SELECT w.id, w.lease_owner FROM webhooks w
        WHERE w.disabled_at IS NULL AND w.due_at <= now() AND (w.lease_until IS NULL OR w.lease_until < now())
          AND EXISTS (SELECT FROM webhook_deliveries d
                      WHERE d.webhook_id = w.id AND d.state = 'due' AND d.due_at <= now()
                        AND d.happened_at >= now() - make_interval(secs => $4))
        ORDER BY w.due_at LIMIT $3 FOR UPDATE OF w SKIP LOCKED)
    UPDATE webhooks w SET lease_owner = $1, lease_until = now() + make_interval(secs => $2)
    FROM taken WHERE w.id = taken.id
    RETURNING w.id, taken.lease_owner IS NOT NULL AS taken_over"""
# None, where the webhook is another's by now, is disabled or gone, or has nothing due. The lease begins anew. Joined to
# the webhook instead of named, all that waits would be sorted for each call.
_NEXT = """
    WITH held AS (
        UPDATE webhooks SET lease_until = now() + make_interval(secs => $3)
        WHERE id = $1 AND lease_owner = $2 AND disabled_at IS NULL
        RETURNING id, url, secret, CASE WHEN former_until > now() THEN former_secret END AS former_secret),
    chosen AS (
        SELECT d.id FROM webhook_deliveries d
        WHERE d.webhook_id = $1 AND EXISTS (SELECT FROM held) AND d.state = 'due' AND d.due_at <= now()
          AND d.happened_at >= now() - make_interval(secs => $4)
        ORDER BY d.due_at, d.id LIMIT 1)
    UPDATE webhook_deliveries d SET attempts = d.attempts + 1 FROM chosen, held WHERE d.id = chosen.id
    RETURNING d.id, d.webhook_id, d.body, d.happened_at, d.attempts, held.url, held.secret, held.former_secret"""
_TAKEN = """
    WITH delivery AS (UPDATE webhook_deliveries SET state = 'taken' WHERE id = $1)
    UPDATE webhooks SET failures = 0, reason = NULL, succeeded_at = now() WHERE id = $2 AND lease_owner = $3"""
_RELEASE = """
    UPDATE webhooks SET lease_owner = NULL, lease_until = NULL, due_at = now() WHERE id = $1 AND lease_owner = $2"""
# The delivery waits for its own sake, so that one that the receiver dislikes lets the others pass…
_PUT_OFF = """
    UPDATE webhook_deliveries
    SET due_at = now() + make_interval(secs => least($2::float8, greatest($3::float8, 2 ^ least(attempts, 20))))
    WHERE id = $1 AND state = 'due'"""
# …and the webhook for its receiver's.
_PAUSE = """
    UPDATE webhooks
    SET failures = failures + 1, reason = $3, lease_owner = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => least($4::float8, greatest($5::float8, 2 ^ least(failures + 1, 20)))),
        disabled_at = CASE WHEN $6 OR failures + 1 >= $7 THEN now() END
    WHERE id = $1 AND lease_owner = $2
    RETURNING disabled_at IS NOT NULL"""
_DROP = "UPDATE webhook_deliveries SET state = 'dropped' WHERE webhook_id = $1 AND state = 'due'"


class WebhookRelay:
    """Two at once take different webhooks."""

    def __init__(self, database: Database, settings: WebhookSettings, caller: WebhookCaller) -> None:
        self._database = database
        self._settings = settings
        self._caller = caller
        self._owner = uuid4().hex
        self._lease_seconds = settings.timeout_seconds + _LEASE_SPARE_SECONDS
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def run(self) -> None:
        """Relay until cancelled; calls under way are then finished and noted, so that a clean stop repeats none."""
        try:
            while True:
                try:
                    found = await self.start_some()
                except DRIVER_ERRORS as error:
                    get_logger().warning("webhooks wait", error=f"{type(error).__name__}: {error}")
                    await asyncio.sleep(1)
                    continue
                if not found:
                    await asyncio.sleep(self._settings.check_seconds)
        finally:
            self._is_stopping = True
            await self.settle()

    async def start_some(self) -> int:
        """Begin with as many webhooks as may be called at once; how many were begun with."""
        free = self._settings.at_once - len(self._under_way)
        if not free:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 1
        pool = await self._database.pool()
        rows = await pool.fetch(_TAKE, self._owner, self._lease_seconds, free, self._settings.give_up_seconds)
        for row in rows:
            if row["taken_over"]:
                metrics.WEBHOOKS.labels("taken_over").inc()
            task = asyncio.create_task(self._serve(pool, row["id"]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(rows)

    async def settle(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._under_way)

    async def _serve(self, pool: asyncpg.Pool, webhook_id: UUID) -> None:
        """Call one webhook about what is due, oldest first, until it fails or its turn is over."""
        settings = self._settings
        over = time.monotonic() + settings.turn_seconds
        arguments = (webhook_id, self._owner, self._lease_seconds, settings.give_up_seconds)
        try:
            while (row := await pool.fetchrow(_NEXT, *arguments)) is not None:
                if not await self._deliver(pool, row):
                    return
                if self._is_stopping or time.monotonic() >= over:
                    break
            await pool.execute(_RELEASE, webhook_id, self._owner)
        except DRIVER_ERRORS as error:
            # The lease runs out, and what was not noted goes out once more.
            get_logger().warning("a webhook is left", webhook=str(webhook_id), error=f"{type(error).__name__}: {error}")

    async def _deliver(self, pool: asyncpg.Pool, row: asyncpg.Record) -> bool:
        """Call about one event and note what came of it; whether it was taken."""
        secrets = [row["secret"], *([row["former_secret"]] if row["former_secret"] else [])]
        answer = await self._caller.call(row["url"], secrets, row["id"], row["body"])
        if answer.is_taken:
            await pool.execute(_TAKEN, row["id"], row["webhook_id"], self._owner)
            metrics.WEBHOOKS.labels("taken").inc()
            metrics.WEBHOOK_SECONDS.observe((datetime.now(UTC) - row["happened_at"]).total_seconds())
        else:
            await self._note_failure(pool, row, answer)
        return answer.is_taken

    async def _note_failure(self, pool: asyncpg.Pool, row: asyncpg.Record, answer: Answer) -> None:
        settings, webhook_id = self._settings, row["webhook_id"]
        longest, dropped = settings.longest_pause_seconds, ""
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(_PUT_OFF, row["id"], longest, answer.retry_after)
            is_disabled = await connection.fetchval(
                _PAUSE, webhook_id, self._owner, answer.reason, longest, answer.retry_after, answer.is_gone,
                settings.most_failures,
            )  # fmt: skip
            if is_disabled:
                dropped = await connection.execute(_DROP, webhook_id)
        metrics.WEBHOOKS.labels("failed").inc()
        words = {"webhook": str(webhook_id), "delivery": str(row["id"]), "reason": answer.reason}
        if is_disabled:
            metrics.WEBHOOKS.labels("disabled").inc()
            metrics.WEBHOOKS.labels("dropped").inc(int(dropped.split()[-1]))
            get_logger().warning("a webhook is disabled", **words)
        else:
            get_logger().warning("a webhook fails", attempts=row["attempts"], **words)
