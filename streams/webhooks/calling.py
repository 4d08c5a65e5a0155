"""The outbox of webhook calls: each webhook is called once at a time, many of them at once, none waits for another.

A worker that dies between a call and its note leaves leases behind; the next worker calls again under the same
``webhook-id``, by which receivers know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clients import metrics
from clients.logs import get_logger
from clients.outbox_rows import Connection, Done, Later, Outcome, pause_seconds
from clients.webhook_call import WebhookCaller
from config.settings import WebhookSettings
from streams.outbox.outbox import Outbox, Row
from streams.outboxes import WEBHOOK_DELIVERIES

_LEASE_SPARE_SECONDS = 5

# The delivery waits for its own sake, so that one that the receiver dislikes lets the others pass…
_PUT_OFF = """
    UPDATE webhook_deliveries
    SET due_at = now() + make_interval(secs => $3), reason = $4, lease_owner = NULL, lease_until = NULL
    WHERE id = $1 AND lease_owner = $2 AND state = 'due'"""
# …and the webhook for its receiver's.
_PAUSE = """
    UPDATE webhooks
    SET failures = failures + 1, reason = $3, lease_owner = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => $4),
        disabled_at = CASE WHEN $5 OR failures + 1 >= $6 THEN now() END
    WHERE id = $1 AND lease_owner = $2
    RETURNING disabled_at IS NOT NULL"""
_DROP = "UPDATE webhook_deliveries SET state = 'dropped' WHERE webhook_id = $1 AND state = 'due'"
_SUCCEEDED = """
    UPDATE webhooks SET failures = 0, reason = NULL, succeeded_at = now()
    WHERE id = ANY($1::uuid[]) AND lease_owner = $2"""
# The webhook that was called longest ago comes first: each has its turn.
_RELEASE = """
    UPDATE webhooks SET lease_owner = NULL, lease_until = NULL, due_at = now()
    WHERE id = ANY($1::uuid[]) AND lease_owner = $2"""


@dataclass(frozen=True, slots=True)
class CallFailed(Later):
    """The receiver did not take the call. *is_gone*: it wants no more calls, ever."""

    is_gone: bool = False


class WebhookOutbox(Outbox):
    """The oldest due delivery of each webhook; the lease on the webhook is what makes its calls serial."""

    table = WEBHOOK_DELIVERIES
    claim_sql = """
        WITH chosen AS (
            SELECT w.id AS webhook_id, next.id, w.lease_owner, w.url, w.secret, w.failures,
                   CASE WHEN w.former_until > now() THEN w.former_secret END AS former_secret
            FROM webhooks w
            CROSS JOIN LATERAL (
                SELECT d.id FROM webhook_deliveries d
                WHERE d.webhook_id = w.id AND d.state = 'due' AND d.due_at <= now()
                  AND d.happened_at >= now() - make_interval(secs => $4)
                ORDER BY d.due_at LIMIT 1) next
            WHERE w.disabled_at IS NULL AND w.due_at <= now() AND (w.lease_until IS NULL OR w.lease_until < now())
            ORDER BY w.due_at LIMIT $3 FOR UPDATE OF w SKIP LOCKED),
        held AS (
            UPDATE webhooks w SET lease_owner = $1, lease_until = now() + make_interval(secs => $2)
            FROM chosen WHERE w.id = chosen.webhook_id)
        UPDATE webhook_deliveries d
        SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), attempts = d.attempts + 1
        FROM chosen WHERE d.id = chosen.id
        RETURNING d.id, d.webhook_id, d.body, d.happened_at, d.attempts, d.failures, chosen.url, chosen.secret,
                  chosen.former_secret, chosen.failures AS webhook_failures,
                  chosen.lease_owner IS NOT NULL AS taken_over"""
    done = "state = 'taken'"

    def __init__(self, settings: WebhookSettings, caller: WebhookCaller) -> None:
        self.at_once = settings.at_once
        self.idle_seconds = settings.check_seconds
        self.lease_seconds = settings.timeout_seconds + _LEASE_SPARE_SECONDS
        self.longest_pause_seconds = settings.longest_pause_seconds
        self._settings = settings
        self._caller = caller

    def claim_arguments(self) -> tuple[object, ...]:
        """See :meth:`streams.outbox.outbox.Outbox.claim_arguments`."""
        return (self._settings.give_up_seconds,)

    async def handle(self, rows: Sequence[Row]) -> Sequence[Outcome]:
        """See :meth:`streams.outbox.outbox.Outbox.handle`."""
        [row] = rows
        if row["taken_over"]:
            metrics.WEBHOOKS.labels("taken_over").inc()
        secrets = [row["secret"], *([row["former_secret"]] if row["former_secret"] else [])]
        answer = await self._caller.call(row["url"], secrets, row["id"], row["body"])
        if not answer.is_taken:
            return [CallFailed(answer.reason, answer.retry_after or None, answer.is_gone)]
        metrics.WEBHOOKS.labels("taken").inc()
        metrics.WEBHOOK_SECONDS.observe((datetime.now(UTC) - row["happened_at"]).total_seconds())
        return [Done()]

    async def note_done(self, connection: Connection, owner: str, done: Sequence[tuple[Row, Done]]) -> None:
        """See :meth:`streams.outbox.outbox.Outbox.note_done`; the webhook's failures in a row are over."""
        await super().note_done(connection, owner, done)
        await connection.execute(_SUCCEEDED, [row["webhook_id"] for row, _ in done], owner)

    async def note_later(self, connection: Connection, owner: str, later: Sequence[tuple[Row, Later]]) -> None:
        """Put off the delivery and its webhook, each by its own count; after too many failures disable the webhook."""
        for row, outcome in later:
            await connection.execute(_PUT_OFF, row["id"], owner, self.pause(row, outcome), outcome.reason)
            if isinstance(outcome, CallFailed):
                await self._note_failure(connection, owner, row, outcome)

    async def release(self, connection: Connection, owner: str, rows: Sequence[Row]) -> None:
        """See :meth:`streams.outbox.outbox.Outbox.release`: the webhooks, but for those that pause."""
        await connection.execute(_RELEASE, [row["webhook_id"] for row in rows], owner)

    def pause(self, row: Row, outcome: Later) -> float:
        """As long as the receiver asked for at least, and never longer than the setting."""
        return self._pause(row["attempts"], outcome)

    def _pause(self, attempts: int, outcome: Later) -> float:
        longest = self.longest_pause_seconds
        return min(longest, max(outcome.retry_after or 0.0, pause_seconds(attempts, longest)))

    async def _note_failure(self, connection: Connection, owner: str, row: Row, outcome: CallFailed) -> None:
        webhook, most = row["webhook_id"], self._settings.most_failures
        pause = self._pause(row["webhook_failures"] + 1, outcome)
        is_disabled = await connection.fetchval(_PAUSE, webhook, owner, outcome.reason, pause, outcome.is_gone, most)
        metrics.WEBHOOKS.labels("failed").inc()
        said = {"webhook": str(webhook), "delivery": str(row["id"]), "reason": outcome.reason}
        if is_disabled:
            dropped = await connection.execute(_DROP, webhook)
            metrics.WEBHOOKS.labels("disabled").inc()
            metrics.WEBHOOKS.labels("dropped").inc(int(dropped.split()[-1]))
            get_logger().warning("a webhook is disabled", **said)
        else:
            get_logger().warning("a webhook fails", attempts=row["attempts"], **said)
