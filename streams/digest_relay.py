"""Takes digests out of the outbox and hands them to the notification hub's queue, as often as it takes.

A digest goes under its own id, however often it is sent: a FIFO queue keeps one of those that come within its five
minutes, and a standard one's reader knows it by the id. Whoever does not want digests gets none that is not sent yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from clients import metrics
from clients.logs import get_logger
from clients.postgres import FAULTS, Database
from clients.queue import MOST_AT_ONCE, Message, NotificationQueue, QueueError
from clients.unsubscribe import UnsubscribeLinks, Wish
from config.settings import DigestSettings
from notifications.mail import render

CATEGORY, CHANNEL = "social", "digest"
TYPE = "wishlist_share_digest"
_LEASE_SECONDS = 30
_LONGEST_PAUSE_SECONDS = 60
_DROP = f"""
    UPDATE digests d SET state = 'dropped' FROM notification_preferences p
    WHERE d.state = 'due' AND (p.user_id, p.category, p.channel) = (d.owner_id, '{CATEGORY}', '{CHANNEL}')
      AND NOT p.enabled"""
_TAKE = f"""
    UPDATE digests d SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM digests
        WHERE state = 'due' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
          AND NOT EXISTS (SELECT FROM notification_preferences p
                          WHERE (p.user_id, p.category, p.channel) = (digests.owner_id, '{CATEGORY}', '{CHANNEL}')
                            AND NOT p.enabled)
        ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING id, content, attempts"""


class DigestRelay:
    """Sends what is due; two at once take different digests."""

    def __init__(
        self, database: Database, settings: DigestSettings, queue: NotificationQueue, links: UnsubscribeLinks, url: str
    ) -> None:
        self._database = database
        self._settings = settings
        self._queue = queue
        self._links = links
        self._lists_url = f"{url}/wishlists"
        self._owner = uuid4().hex

    async def run(self) -> None:
        """Relay until cancelled."""
        while True:
            try:
                if not await self.send_some():
                    await asyncio.sleep(self._settings.check_seconds)
            except FAULTS as error:
                get_logger().warning("the digests wait", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def send_some(self) -> int:
        """Send as many as the queue takes at once; how many were taken out of the outbox."""
        pool = await self._database.pool()
        dropped = await pool.execute(_DROP)
        metrics.DIGESTS.labels("dropped").inc(int(dropped.split()[-1]))
        rows = await pool.fetch(_TAKE, self._owner, _LEASE_SECONDS, MOST_AT_ONCE)
        if not rows:
            return 0
        messages = [self._message(str(row["id"]), orjson.loads(row["content"])) for row in rows]
        taken: set[str] = set()
        try:
            taken = await self._queue.send(messages)
        except QueueError as error:
            # Whether it has taken them nobody knows: they are sent again, under the same ids.
            get_logger().warning("the queue does not answer", error=str(error))
        await self._note(pool, rows, taken)
        return len(rows)

    async def _note(self, pool: asyncpg.Pool, rows: Sequence[asyncpg.Record], taken: set[str]) -> None:
        left = [row for row in rows if str(row["id"]) not in taken]
        await pool.execute(
            "UPDATE digests SET state = 'sent', sent_at = now() WHERE id = ANY($1::uuid[]) AND lease_owner = $2",
            list(taken),
            self._owner,
        )
        await pool.execute(
            """UPDATE digests d SET lease_until = NULL, due_at = now() + make_interval(secs => of.pause)
               FROM unnest($1::uuid[], $2::float8[]) AS of(id, pause) WHERE d.id = of.id AND d.lease_owner = $3""",
            [row["id"] for row in left],
            [min(_LONGEST_PAUSE_SECONDS, 2.0 ** min(row["attempts"], 10)) for row in left],
            self._owner,
        )
        metrics.DIGESTS.labels("sent").inc(len(taken))
        metrics.DIGESTS.labels("failed").inc(len(left))

    def _message(self, digest_id: str, content: dict[str, Any]) -> Message:
        unsubscribe = self._links.link(Wish(content["user_id"], CATEGORY, CHANNEL))
        mail = render(content, unsubscribe_url=unsubscribe, lists_url=self._lists_url)
        body = {
            "notification_id": digest_id,
            "type": TYPE,
            "category": CATEGORY,
            "user_id": content["user_id"],
            "digest": content,
            "email": {
                "subject": mail.subject,
                "html": mail.html,
                "text": mail.text,
                # RFC 8058: mail programs show a button for it.
                "headers": {
                    "List-Unsubscribe": f"<{unsubscribe}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            },
        }
        return Message(digest_id, content["user_id"], orjson.dumps(body).decode())
