"""The outbox of push notifications: each goes to one device, as often as it takes, under its own id.

A worker that dies between sending and noting leaves a lease behind; the worker that claims the delivery next sends it
again under the same id. Phones show one of them: a notification replaces the one of the same collapse id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clients import metrics
from clients.outbox_rows import Done, Dropped, Later, Outcome, Refused
from clients.postgres import Database
from clients.push_gateway import PushGateway, PushMessage, Verdict
from config.settings import PushSettings
from notifications.push import words
from streams.outbox.outbox import Outbox, Row
from streams.outboxes import PUSH_DELIVERIES
from streams.pushes.announcing import CATEGORY, CHANNEL

_GONE = "DELETE FROM devices WHERE id = $1 AND token = $2"


class DeliveryOutbox(Outbox):
    """The deliveries to the devices of one *platform*. A device that does not answer holds up none but itself."""

    table = PUSH_DELIVERIES
    # The oldest that are due. A delivery that comes too late, that nobody wants any more, or that would now reach
    # another person is not sent.
    claim_sql = f"""
        WITH taken AS (
            SELECT l.id, l.lease_owner,
                   CASE WHEN p.happened_at < now() - make_interval(secs => $5) THEN 'late'
                        WHEN d.user_id <> p.owner_id
                             OR EXISTS (SELECT FROM notification_preferences n
                                        WHERE (n.user_id, n.category, n.channel)
                                              = (p.owner_id, '{CATEGORY}', '{CHANNEL}') AND NOT n.enabled)
                        THEN 'dropped' END AS unwanted
            FROM push_deliveries l JOIN devices d ON d.id = l.device_id JOIN pushes p ON p.id = l.push_id
            WHERE l.state = 'due' AND l.due_at <= now() AND (l.lease_until IS NULL OR l.lease_until < now())
              AND d.platform = $4
            ORDER BY l.due_at LIMIT $3 FOR UPDATE OF l SKIP LOCKED)
        UPDATE push_deliveries l
        SET lease_owner = $1, lease_until = now() + make_interval(secs => $2),
            attempts = l.attempts + (taken.unwanted IS NULL)::int
        FROM taken, devices d, pushes p
        JOIN users u ON u.id = p.owner_id
        LEFT JOIN wishlists w ON w.id = p.wishlist_id
        LEFT JOIN products t ON t.id = p.product_id
        WHERE l.id = taken.id AND d.id = l.device_id AND p.id = l.push_id
        RETURNING l.id, taken.unwanted, l.attempts, l.failures, l.device_id, d.token, p.items, p.happened_at, u.locale,
                  l.push_id, w.title AS wishlist, w.public_id AS list_id, t.name AS product,
                  taken.lease_owner IS NOT NULL AS taken_over"""
    done = "state = 'taken'"

    def __init__(
        self, database: Database, settings: PushSettings, platform: str, gateway: PushGateway, lists_url: str
    ) -> None:
        self.at_once = settings.at_once
        self.idle_seconds = settings.check_seconds
        self._latest_seconds = settings.latest_seconds
        self._database = database
        self._platform = platform
        self._gateway = gateway
        self._lists_url = lists_url

    @property
    def job(self) -> str:
        """See :attr:`streams.outbox.outbox.Outbox.job`: each platform has a worker."""
        return f"{self.name} {self._platform}"

    def claim_arguments(self) -> tuple[object, ...]:
        """See :meth:`streams.outbox.outbox.Outbox.claim_arguments`."""
        return (self._platform, self._latest_seconds)

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        if row["unwanted"]:
            metrics.PUSHES.labels(row["unwanted"]).inc()
            return [Dropped(row["unwanted"], state=row["unwanted"])]
        if row["taken_over"]:
            metrics.PUSHES.labels("taken_over").inc()
        return [await self._send(row)]

    async def _send(self, row: Row) -> Outcome:
        answer = await self._gateway.send(self._message(row))
        metrics.PUSHES.labels(str(answer.verdict)).inc()
        match answer.verdict:
            case Verdict.GONE:
                # The delivery goes with its device.
                await (await self._database.pool()).execute(_GONE, row["device_id"], row["token"])
                return Done()
            case Verdict.TAKEN:
                metrics.PUSH_SECONDS.observe((datetime.now(UTC) - row["happened_at"]).total_seconds())
                return Done()
            case Verdict.REFUSED:
                return Refused(answer.reason)
            case Verdict.LATER:
                return Later(answer.reason, answer.retry_after)

    def _message(self, row: Row) -> PushMessage:
        said = words(locale=row["locale"], wishlist=row["wishlist"], items=row["items"], product=row["product"])
        return PushMessage(
            id=row["id"],
            token=row["token"],
            title=said.title,
            body=said.body,
            collapse_id=str(row["push_id"]),
            url=f"{self._lists_url}/{row['list_id'] or ''}",
            expires_at=row["happened_at"] + timedelta(seconds=self._latest_seconds),
        )
