"""The outbox of digests: each goes to the notification hub's queue, as often as it takes.

A digest goes under its own id, however often it is sent: a FIFO queue keeps one of the copies that come within its
five minutes, and a standard queue's reader knows it by the id. An owner who does not want digests any more gets none
that is not sent yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from clients import metrics
from clients.outbox_rows import Done, Dropped, Later, Outcome, Refused
from clients.queue import MOST_AT_ONCE, Message, MessagesRefused, NotificationQueue, json_text
from clients.unsubscribe import UnsubscribeLinks, Wish
from config.settings import DigestSettings
from notifications.mail import render
from streams.outbox.outbox import Outbox, Row, claiming
from streams.outboxes import DIGESTS

CATEGORY, CHANNEL = "social", "digest"
TYPE = "wishlist_share_digest"


class DigestOutbox(Outbox):
    """Ten digests in a call, as many as SQS takes."""

    table = DIGESTS
    claim_sql = claiming(
        DIGESTS,
        due="state = 'due' AND due_at <= now()",
        order="due_at",
        returning=f"""content, attempts, failures,
                  NOT EXISTS (SELECT FROM notification_preferences p
                              WHERE (p.user_id, p.category, p.channel) = (t.owner_id, '{CATEGORY}', '{CHANNEL}')
                                AND NOT p.enabled) AS is_wanted""",
    )
    done = "state = 'sent', sent_at = now()"
    batch = MOST_AT_ONCE
    lease_seconds = 30.0
    longest_pause_seconds = 60.0

    def __init__(self, settings: DigestSettings, queue: NotificationQueue, links: UnsubscribeLinks, url: str) -> None:
        self.idle_seconds = settings.check_seconds
        self._queue = queue
        self._links = links
        self._lists_url = f"{url}/wishlists"

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        messages = [self._message(str(row["id"]), orjson.loads(row["content"])) for row in rows if row["is_wanted"]]
        outcomes: dict[str, Outcome] = await self._send(messages) if messages else {}
        metrics.DIGESTS.labels("sent").inc(sum(isinstance(one, Done) for one in outcomes.values()))
        metrics.DIGESTS.labels("failed").inc(sum(not isinstance(one, Done) for one in outcomes.values()))
        metrics.DIGESTS.labels("dropped").inc(len(rows) - len(messages))
        return [outcomes.get(str(row["id"]), Dropped("its owner wants no digests")) for row in rows]

    async def _send(self, messages: Sequence[Message]) -> dict[str, Outcome]:
        """What the queue says of each. Where it does not answer, nobody knows: they are sent again under their ids."""
        try:
            sent = await self._queue.send(messages)
        except MessagesRefused as error:
            if len(messages) > 1:
                raise  # and the batch is halved
            return {messages[0].id: Refused(str(error))}
        outcomes: dict[str, Outcome] = dict.fromkeys((one.id for one in messages), Later("the queue did not take it"))
        outcomes |= dict.fromkeys(sent.taken, Done())
        return outcomes | {id: Refused(reason) for id, reason in sent.refused.items()}

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
        return Message(digest_id, content["user_id"], json_text(body))
