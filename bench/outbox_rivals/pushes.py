"""The pushes' relay of before: a task a delivery, which notes its own outcome."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg

from clients import metrics
from clients.logs import get_logger
from clients.postgres import DRIVER_ERRORS, Database
from clients.push_gateway import Answer, PushGateway, PushMessage, Verdict
from config.settings import PushSettings
from notifications.push import words
from streams.pushes.announcing import CATEGORY, CHANNEL

_LEASE_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 300
_LONGEST_ASKED_SECONDS = 3_600

# The oldest that are due. What is not to be sent is settled at once: what comes too late, what nobody wants any more,
# and what would now reach another person's hands.
_TAKE = f"""
    WITH taken AS (
        SELECT l.id, l.lease_owner,
               CASE WHEN p.happened_at < now() - make_interval(secs => $5) THEN 'late'
                    WHEN d.user_id <> p.owner_id
                         OR EXISTS (SELECT FROM notification_preferences n
                                    WHERE (n.user_id, n.category, n.channel) = (p.owner_id, '{CATEGORY}', '{CHANNEL}')
                                      AND NOT n.enabled) THEN 'dropped'
                    ELSE 'due' END AS state
        FROM push_deliveries l JOIN devices d ON d.id = l.device_id JOIN pushes p ON p.id = l.push_id
        WHERE l.state = 'due' AND l.due_at <= now() AND (l.lease_until IS NULL OR l.lease_until < now())
          AND d.platform = $1
        ORDER BY l.due_at LIMIT $4 FOR UPDATE OF l SKIP LOCKED)
    UPDATE push_deliveries l
    SET state = taken.state, lease_owner = $2, lease_until = now() + make_interval(secs => $3),
        attempts = l.attempts + (taken.state = 'due')::int
    FROM taken, devices d, pushes p
    JOIN users u ON u.id = p.owner_id
    LEFT JOIN wishlists w ON w.id = p.wishlist_id
    LEFT JOIN products t ON t.id = p.product_id
    WHERE l.id = taken.id AND d.id = l.device_id AND p.id = l.push_id
    RETURNING l.id, l.state, l.attempts, l.device_id, d.token, p.items, p.happened_at, u.locale, l.push_id,
              w.title AS wishlist, w.public_id AS list_id, t.name AS product,
              taken.lease_owner IS NOT NULL AS taken_over"""
_NOTE = """
    UPDATE push_deliveries
    SET state = $3, lease_owner = NULL, lease_until = NULL, due_at = now() + make_interval(secs => $4)
    WHERE id = $1 AND lease_owner = $2"""


class PushRelay:
    """The deliveries to the devices of one *platform*. A device that does not answer holds up none but itself."""

    def __init__(
        self, database: Database, settings: PushSettings, platform: str, gateway: PushGateway, lists_url: str
    ) -> None:
        self._database = database
        self._settings = settings
        self._platform = platform
        self._gateway = gateway
        self._lists_url = lists_url
        self._owner = uuid4().hex
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Relay until cancelled."""
        try:
            while True:
                try:
                    found = await self.start_some()
                except DRIVER_ERRORS as error:
                    get_logger().warning("pushes wait", error=f"{type(error).__name__}: {error}")
                    await asyncio.sleep(1)
                    continue
                if not found:
                    await asyncio.sleep(self._settings.check_seconds)
        finally:
            await self.close()

    async def start_some(self) -> int:
        """Begin as many deliveries as may be under way at once; how many were begun, or settled without."""
        free = self._settings.at_once - len(self._under_way)
        if not free:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 1
        pool = await self._database.pool()
        latest = self._settings.latest_seconds
        rows = await pool.fetch(_TAKE, self._platform, self._owner, float(_LEASE_SECONDS), free, latest)
        for row in rows:
            if row["state"] != "due":
                metrics.PUSHES.labels(row["state"]).inc()
                continue
            task = asyncio.create_task(self._deliver(pool, row))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(rows)

    async def settle(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._under_way)

    async def close(self) -> None:
        """Let go of the service. What is under way goes out again when its lease has run out."""
        for task in self._under_way:
            task.cancel()
        await self._gateway.close()

    async def _deliver(self, pool: asyncpg.Pool, row: asyncpg.Record) -> None:
        if row["taken_over"]:
            metrics.PUSHES.labels("taken_over").inc()
        answer = await self._gateway.send(self._message(row))
        metrics.PUSHES.labels(str(answer.verdict)).inc()
        try:
            await self._note(pool, row, answer)
        except DRIVER_ERRORS as error:
            # The lease runs out, and it goes out once more.
            get_logger().warning(
                "a push is not noted", delivery=str(row["id"]), error=f"{type(error).__name__}: {error}"
            )

    async def _note(self, pool: asyncpg.Pool, row: asyncpg.Record, answer: Answer) -> None:
        pause = 0.0
        match answer.verdict:
            case Verdict.GONE:
                await pool.execute("DELETE FROM devices WHERE id = $1 AND token = $2", row["device_id"], row["token"])
                return
            case Verdict.TAKEN:
                state = "taken"
                metrics.PUSH_SECONDS.observe((datetime.now(UTC) - row["happened_at"]).total_seconds())
            case Verdict.REFUSED:
                state = "refused"
                get_logger().warning("a push is refused", delivery=str(row["id"]), reason=answer.reason)
            case Verdict.LATER:
                state = "due"
                pause = _pause(row["attempts"], answer.retry_after)
                get_logger().warning("a push waits", delivery=str(row["id"]), reason=answer.reason, seconds=pause)
        await pool.execute(_NOTE, row["id"], self._owner, state, pause)

    def _message(self, row: asyncpg.Record) -> PushMessage:
        said = words(locale=row["locale"], wishlist=row["wishlist"], items=row["items"], product=row["product"])
        return PushMessage(
            id=row["id"],
            token=row["token"],
            title=said.title,
            body=said.body,
            collapse_id=str(row["push_id"]),
            url=f"{self._lists_url}/{row['list_id'] or ''}",
            expires_at=row["happened_at"] + timedelta(seconds=self._settings.latest_seconds),
        )


def _pause(attempts: int, asked: float | None) -> float:
    if asked is not None:
        return min(asked, _LONGEST_ASKED_SECONDS)
    return min(_LONGEST_PAUSE_SECONDS, 2.0 ** min(attempts, 10))
