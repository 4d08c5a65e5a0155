"""The outbox of announcements: one delivery for each of the owner's devices, unless they want to be left alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clients import metrics
from notifications.quiet import quiet_until
from streams.outbox.outbox import TransactionalOutbox, claiming
from streams.outboxes import PUSHES
from streams.owner_zone import owner_zone

CATEGORY, CHANNEL = "social", "push"

_CLAIMED = f"""
    SELECT p.id, u.time_zone, u.quiet_start, u.quiet_end, coalesce(n.enabled, true) AS wanted
    FROM pushes p JOIN users u ON u.id = p.owner_id
    LEFT JOIN notification_preferences n ON (n.user_id, n.category, n.channel) = (u.id, '{CATEGORY}', '{CHANNEL}')
    WHERE p.id = ANY($1::uuid[]) AND p.lease_owner = $2 AND p.state = 'due' ORDER BY p.id FOR UPDATE OF p"""
_RELEASED = "attempts = 0, failures = 0, reason = NULL, traceback = NULL, lease_owner = NULL, lease_until = NULL"
_POSTPONE = f"""
    UPDATE pushes p SET due_at = of.due_at, {_RELEASED} FROM unnest($1::uuid[], $2::timestamptz[]) AS of(id, due_at)
    WHERE p.id = of.id"""
_DROP = f"UPDATE pushes SET state = 'dropped', {_RELEASED} WHERE id = ANY($1::uuid[])"
_DELIVER = """
    INSERT INTO push_deliveries (push_id, device_id, due_at)
    SELECT p.id, d.id, now() FROM pushes p JOIN devices d ON d.user_id = p.owner_id WHERE p.id = ANY($1::uuid[])
    RETURNING push_id"""
_TOLD = f"UPDATE pushes SET state = 'told', told_at = $2, {_RELEASED} WHERE id = ANY($1::uuid[])"


class AnnouncementOutbox(TransactionalOutbox):
    """One row an owner and wishlist."""

    table = PUSHES
    claim_sql = claiming(
        PUSHES, due="state = 'due' AND due_at <= $4", order="due_at", returning="lease_owner, attempts, failures"
    )

    async def settle(self, connection: PoolConnectionProxy, ids: Sequence[UUID], owner: str, now: datetime) -> None:
        """See :meth:`streams.outbox.outbox.TransactionalOutbox.settle`."""
        due = await connection.fetch(_CLAIMED, ids, owner)
        quiet = {row["id"]: over for row in due if row["wanted"] and (over := _quiet_until(now, row)) is not None}
        told = [row["id"] for row in due if row["wanted"] and row["id"] not in quiet]
        dropped = [row["id"] for row in due if not row["wanted"]]
        if quiet:
            await connection.execute(_POSTPONE, list(quiet), list(quiet.values()))
        if dropped:
            await connection.execute(_DROP, dropped)
        await _tell(connection, told, now)
        metrics.PUSHES.labels("quiet").inc(len(quiet))
        metrics.PUSHES.labels("not_wanted").inc(len(dropped))


async def _tell(connection: PoolConnectionProxy, pushes: Sequence[object], now: datetime) -> None:
    if not pushes:
        return
    reached = {row["push_id"] for row in await connection.fetch(_DELIVER, pushes)}
    await connection.execute(_TOLD, pushes, now)
    metrics.PUSHES.labels("told").inc(len(reached))
    metrics.PUSHES.labels("no_device").inc(len(pushes) - len(reached))


def _quiet_until(now: datetime, owner: asyncpg.Record) -> datetime | None:
    zone = owner_zone(owner["time_zone"], metrics.PUSHES)
    return quiet_until(now, zone, owner["quiet_start"], owner["quiet_end"])
