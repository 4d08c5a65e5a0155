"""``./run bench digest``: closing the day of many owners at once, and how time and memory grow with them.

Every owner has three views from three visitors waiting, and all their days close at the same moment. A closer is one
worker; two work side by side, as in production, in one process here, so that memory can be told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from clients.postgres import Database
from config.settings import DigestSettings, PostgresSettings
from streams.digests.closing import ClosingOutbox
from streams.outbox.worker import OutboxWorker
from tests.lab import open_database

console = Console(stderr=True)
NINE = datetime(2026, 6, 1, 7, tzinfo=UTC)  # in Berlin

_FILL = (
    """INSERT INTO users (id, public_id, display_name, time_zone)
       SELECT md5('owner' || n)::uuid, 'bench_' || n, 'Owner', 'Europe/Berlin' FROM generate_series(1, $1::int) n""",
    """INSERT INTO digest_owners (owner_id, is_pending, due_at)
       SELECT md5('owner' || n)::uuid, true, '2026-06-01T07:00:00Z' FROM generate_series(1, $1::int) n""",
    """INSERT INTO digest_counts
       SELECT md5('owner' || n)::uuid, md5('share' || n || '-' || k)::uuid, 'DE', 'email', 1, 0
       FROM generate_series(1, $1::int) n, generate_series(1, 3) k""",
    """INSERT INTO digest_visitors SELECT md5('owner' || n)::uuid, md5('share' || n || '-' || k)::uuid, 'v' || k
       FROM generate_series(1, $1::int) n, generate_series(1, 3) k""",
)


async def close_all(owners: int, workers: int) -> dict[str, float]:
    """Fill a fresh database, close everybody's day, and check that each has a digest."""
    async with open_database(f"bench_{uuid4().hex[:12]}") as dsn:
        connection = await asyncpg.connect(dsn)
        for statement in _FILL:
            await connection.execute(statement, owners, timeout=600)
        await connection.execute("VACUUM ANALYZE", timeout=600)
        database = Database(PostgresSettings(dsn=dsn))
        outbox = ClosingOutbox(database, DigestSettings(), lambda: NINE)
        closers = [OutboxWorker(outbox, database) for _ in range(workers)]

        async def work(closer: OutboxWorker) -> None:
            while await closer.round():
                pass

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        await asyncio.gather(*map(work, closers))
        seconds = time.perf_counter() - began
        row = await connection.fetchrow(
            "SELECT count(*) AS digests, sum((content->'totals'->>'views')::int) AS views FROM digests"
        )
        assert tuple(row or ()) == (owners, 3 * owners), row
        await connection.close()
        await (await database.pool()).close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024, "grown_mb": (peak - before) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owners", default="10000,100000,1000000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asyncio.run(close_all(arguments.one, arguments.workers))))
        return
    table = Table("owners", "views", "seconds", "owners/s", "peak memory", title=f"{arguments.workers} workers")
    results = {}
    for owners in map(int, arguments.owners.split(",")):
        # A process each: the peak is of this many owners alone.
        command = [sys.executable, "-m", "bench.digest", "--one", str(owners), "--workers", str(arguments.workers)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        results[owners] = done
        console.print(f"{owners:,} owners: {done['seconds']:.1f} s, {done['peak_mb']:.0f} MB")
        rate = owners / done["seconds"]
        table.add_row(
            f"{owners:,}", f"{3 * owners:,}", f"{done['seconds']:.1f}", f"{rate:,.0f}", f"{done['peak_mb']:.0f} MB"
        )
    Console().print(table)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
