"""Webhooks as their owners set them. The owner None stands for the shop, whose webhook hears of everybody's shares."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import Any

import asyncpg

_FORMER_SECRET_HOURS = 24
_COLUMNS = "url, secret, disabled_at, failures, reason, succeeded_at, due_at"

# Arguments: the owner's id or None; of SET also the URL, a new secret, and whether it takes the place of an old one.
SHOW = f"SELECT {_COLUMNS} FROM webhooks WHERE owner_id IS NOT DISTINCT FROM $1::uuid"
REMOVE = """
    WITH gone AS (DELETE FROM webhooks WHERE owner_id IS NOT DISTINCT FROM $1::uuid RETURNING 1)
    SELECT count(*) FROM gone"""
# What waits goes to the new URL, at once.
SET = f"""
    WITH done AS (
        INSERT INTO webhooks AS w (owner_id, url, secret) VALUES ($1::uuid, $2, $3)
        ON CONFLICT (owner_id) DO UPDATE
        SET url = EXCLUDED.url, failures = 0, reason = NULL, due_at = now(),
            enabled_at = CASE WHEN w.disabled_at IS NULL THEN w.enabled_at ELSE now() END, disabled_at = NULL,
            secret = CASE WHEN $4 THEN EXCLUDED.secret ELSE w.secret END,
            former_secret = CASE WHEN $4 THEN w.secret ELSE w.former_secret END,
            former_until = CASE WHEN $4 THEN now() + make_interval(hours => {_FORMER_SECRET_HOURS})
                                ELSE w.former_until END
        RETURNING id, {_COLUMNS}),
    hurried AS (
        UPDATE webhook_deliveries d SET due_at = d.happened_at
        FROM done WHERE d.webhook_id = done.id AND d.state = 'due')
    SELECT {_COLUMNS} FROM done"""


def new_secret() -> str:
    """A secret as the Standard Webhooks specification writes it: 32 random bytes."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def described(row: asyncpg.Record) -> dict[str, Any]:
    """*row* of :data:`SHOW` or :data:`SET` as its owner is shown it; the secret is not part of it."""
    paused_until = row["due_at"] if row["failures"] and row["due_at"] > datetime.now(UTC) else None
    return {
        "url": row["url"],
        "state": "disabled" if row["disabled_at"] else "paused" if paused_until else "active",
        "paused_until": None if row["disabled_at"] else _words(paused_until),
        "disabled_at": _words(row["disabled_at"]),
        "reason": row["reason"],
        "failures_in_a_row": row["failures"],
        "last_success_at": _words(row["succeeded_at"]),
    }


def _words(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
