"""Rows that wait to be worked off, each kind with how late it may be: what the doctor asks, and an alert looks at."""

from __future__ import annotations

from dataclasses import dataclass

from clients import metrics
from clients.postgres import Database

_OF = "count(*) AS waiting, extract(epoch FROM now() - min({since}))::float8 AS oldest, {tries} AS tries"


@dataclass(frozen=True, slots=True)
class DueWork:
    """*sql* answers how many wait, how many seconds the oldest has been due, and how often one was tried.

    They are late when the oldest is so by more than *seconds*, or when one has been tried *tries* times in vain.
    """

    name: str
    what: str
    sql: str
    seconds: float
    tries: int = 5


OUTBOX = DueWork(
    "outbox",
    "events",
    f"SELECT {_OF.format(since='created_at', tries='0')} FROM event_outbox WHERE parked_at IS NULL",
    10,
)
EXPIRIES = DueWork(
    "expiries",
    "expiries",
    f"""SELECT {_OF.format(since="expires_at", tries="0")} FROM wishlist_shares s
        WHERE expires_at <= now() AND expired_at IS NULL AND NOT is_revoked
          AND NOT EXISTS (SELECT FROM job_rows r
                          WHERE r.job = 'expiries' AND r.row_id = s.id::text AND r.state <> 'due')""",
    60,
)
DIGESTS_TO_CLOSE = DueWork(
    "digests_to_close",
    "digests to be closed",
    f"""SELECT {_OF.format(since="due_at", tries="0")} FROM digest_owners
        WHERE is_pending AND parked_at IS NULL AND due_at <= now()""",
    300,
)
DIGESTS_TO_SEND = DueWork(
    "digests_to_send",
    "digests to be sent",
    f"""SELECT {_OF.format(since="due_at", tries="max(attempts)")} FROM digests
        WHERE state = 'due' AND due_at <= now()""",
    120,
)
PUSHES_TO_ANNOUNCE = DueWork(
    "pushes_to_announce",
    "pushes to be announced",
    f"SELECT {_OF.format(since='due_at', tries='0')} FROM pushes WHERE state = 'due' AND due_at <= now()",
    60,
)
# One device's own trouble is not ours: its service asks for later and later.
PUSHES_TO_SEND = DueWork(
    "pushes_to_send",
    "pushes to devices",
    f"""SELECT {_OF.format(since="due_at", tries="0")} FROM push_deliveries
        WHERE state = 'due' AND due_at <= now()""",
    120,
)
WEBHOOK_CALLS = DueWork(
    "webhook_calls",
    "calls",
    f"""SELECT {_OF.format(since="d.due_at", tries="0")}
        FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
        WHERE d.state = 'due' AND d.due_at <= now() AND w.failures = 0 AND w.disabled_at IS NULL""",
    120,
)
SHOP_WEBHOOK = DueWork(
    "shop_webhook",
    "disabled webhooks of the shop",
    f"""SELECT {_OF.format(since="disabled_at", tries="0")} FROM webhooks
        WHERE owner_id IS NULL AND disabled_at IS NOT NULL""",
    -1,
)
ENDED_LISTS = DueWork(
    "ended_lists",
    "deleted lists",
    f"SELECT {_OF.format(since='ended_at', tries='0')} FROM ended_lists WHERE parked_at IS NULL",
    60,
)
REMOVED_PEOPLE = DueWork(
    "removed_people",
    "people to be removed",
    f"SELECT {_OF.format(since='removed_at', tries='0')} FROM removed_users WHERE completed_at IS NULL",
    3_600,
)
# Expiries have an alert of their own, which knows that nobody looks at them even where there are none.
MEASURED = (
    OUTBOX,
    DIGESTS_TO_CLOSE,
    DIGESTS_TO_SEND,
    PUSHES_TO_ANNOUNCE,
    PUSHES_TO_SEND,
    WEBHOOK_CALLS,
    SHOP_WEBHOOK,
    ENDED_LISTS,
    REMOVED_PEOPLE,
)


class LateWork:
    """Keeps the gauge of how late each kind is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def measure(self) -> None:
        """Measure once; while PostgreSQL cannot be asked the last figures stand."""
        pool = await self._database.pool()
        for work in MEASURED:
            [row] = await pool.fetch(work.sql)
            late = (row["oldest"] or 0.0) - work.seconds if row["waiting"] else 0.0
            metrics.WORK_LATE.labels(work.name).set(max(0.0, late))
