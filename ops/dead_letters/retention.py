"""Dead letters are kept for 90 days (DESIGN 6), as long as the ledger still knows what a redriven event has done."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

KEEP = timedelta(days=90)


async def remove_old(connection: asyncpg.Connection, now: datetime) -> int:
    """Remove what was stored more than :data:`KEEP` before *now*; returns how many. The audit stays."""
    removed = await connection.execute("DELETE FROM dead_letters WHERE stored_at < $1", now - KEEP)
    return int(removed.split()[-1])
