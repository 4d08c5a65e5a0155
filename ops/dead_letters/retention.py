"""Dead letters and parked rows are kept for 90 days, as long as the ledger knows what a redriven event has done."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

from ops.dead_letters.row_changes import discard_old

KEEP = timedelta(days=90)


async def remove_old(connection: asyncpg.Connection, now: datetime) -> int:
    """Remove letters and give up rows that are older than :data:`KEEP` at *now*; returns how many. The audit stays."""
    removed = await connection.execute("DELETE FROM dead_letters WHERE stored_at < $1", now - KEEP)
    return int(removed.split()[-1]) + await discard_old(connection, now - KEEP)
