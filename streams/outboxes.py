"""Every outbox and every job with rows of its own: what the doctor, ``wishlist dlq``, metrics and tests read."""

from __future__ import annotations

from clients.outbox import EVENTS
from clients.outbox_rows import OutboxTable
from streams.outbox.job_rows import job_table

PREVIEWS = OutboxTable(
    name="previews",
    table="previews",
    key="share_id",
    pending="state = 'due' AND attempts > 0",
    revive="state = 'due', due_at = now(), attempts = 0, fallback = 'wanted'",
    discard="state = 'refused'",
)
FALLBACK_CARDS = OutboxTable(
    name="fallback_cards",
    table="previews",
    key="share_id",
    prefix="fallback_",
    pending="state IN ('due', 'parked') AND fallback IN ('wanted', 'drawing')",
    park="fallback = 'parked'",
    revive="fallback = 'wanted'",
    discard="fallback = 'none'",
    wait="lease_until",
)
PICTURE_REMOVALS = OutboxTable(
    name="picture_removals",
    table="previews",
    key="share_id",
    prefix="purge_",
    pending="state IN ('withdrawn', 'swept') AND purged_at IS NULL AND purge_parked_at IS NULL",
    park="",
    revive="purged_at = NULL",
    discard="purged_at = now()",
    wait="lease_until",
)
DIGEST_DAYS = OutboxTable(
    name="digest_days",
    table="digest_owners",
    key="owner_id",
    pending="is_pending AND parked_at IS NULL",
    park="",
    revive="attempts = 0",
    discard="is_pending = FALSE, due_at = NULL",
    wait="lease_until",
)
DIGESTS = OutboxTable(name="digests", table="digests")
PUSHES = OutboxTable(name="pushes", table="pushes")
PUSH_DELIVERIES = OutboxTable(name="push_deliveries", table="push_deliveries")
WEBHOOK_DELIVERIES = OutboxTable(name="webhook_deliveries", table="webhook_deliveries")
ENDED_LISTS = OutboxTable(
    name="ended_lists",
    table="ended_lists",
    key="wishlist_id",
    pending="parked_at IS NULL",
    park="",
    revive="due_at = now(), attempts = 0",
    discard=None,
)

EXPIRIES = job_table("expiries")
PICTURE_SWEEP = job_table("picture_sweep")
LATE_CALLS = job_table("late_calls")
ARCHIVE_SWEEP = job_table("archive_sweep")
REFERENCE_ROWS = job_table("reference_rows")

JOBS = (EXPIRIES, PICTURE_SWEEP, LATE_CALLS, ARCHIVE_SWEEP, REFERENCE_ROWS)
OUTBOXES = (
    PREVIEWS,
    FALLBACK_CARDS,
    PICTURE_REMOVALS,
    DIGEST_DAYS,
    DIGESTS,
    PUSHES,
    PUSH_DELIVERIES,
    WEBHOOK_DELIVERIES,
    ENDED_LISTS,
    EVENTS,
)
ALL = (*OUTBOXES, *JOBS)
