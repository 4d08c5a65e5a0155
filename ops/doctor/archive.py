"""The archive: whether it is whole, as far as PostgreSQL and a listing tell. `wishlist archive verify` reads it all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from clients.faults import Unavailable
from clients.objects import ObjectStore
from config.settings import ArchiveSettings, ObjectStoreSettings, StreamSettings, load
from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.surroundings import Away, Surroundings
from sinks.archive import GROUP, LONGEST_UNLISTED

GAPS = Symptom(
    name="archive-gaps",
    says="the archive has holes",
    users="None now. A replay from the archive would miss these events once the topic has forgotten them.",
    do="wishlist archive verify says all of it; while the topic has them (30 days): wishlist replay archive",
    over="wishlist archive verify finds it whole.",
    broken=True,
)
ORPHANS = Symptom(
    name="archive-orphans",
    says="files in the archive's part of the bucket that its manifest does not name",
    users="None: nobody reads them. What was to be erased may be in them.",
    do="./run logs archive, for why its sweep does not run; it removes them by itself",
    over="The check archive is well.",
)
# Twice what the sweep lets pass, and its own interval besides.
_OLD = 4 * LONGEST_UNLISTED


def judge(*, files: int, newest: float | None, holes: int, unaccounted: int, orphans: int) -> list[Finding]:
    """*holes* of offsets, events that were settled and are in no file (*unaccounted*), *orphans* in the bucket."""
    found = []
    if holes or unaccounted:
        words = [f"{holes} between offsets"] if holes else []
        words += [f"{abs(unaccounted):,} events {'too few' if unaccounted > 0 else 'too many'}"] if unaccounted else []
        found.append(GAPS.found(", ".join(words)))
    if orphans:
        found.append(ORPHANS.found(f"{orphans:,}"))
    age = "" if newest is None else f", the newest {ago(newest)} old"
    return found or [well(f"{files:,} files{age}, no holes, no orphans")]


async def _look(around: Surroundings) -> Iterable[Finding]:
    group, settings = GROUP + load(StreamSettings).group_suffix, load(ArchiveSettings)
    row = await around.row(
        """SELECT count(*) AS files, extract(epoch FROM now() - max(written_at))::float8 AS newest,
                  coalesce(sum(events + erased), 0)::bigint AS listed,
                  (SELECT coalesce(sum(events), 0)::bigint FROM archive_spans WHERE consumer_group = $1) AS settled,
                  (SELECT count(*) FROM (
                       SELECT next_offset, lead(first_offset) OVER one AS following
                       FROM archive_spans WHERE consumer_group = $1
                       WINDOW one AS (PARTITION BY topic_id, partition ORDER BY first_offset)) spans
                   WHERE following <> next_offset) AS holes
           FROM archive_files WHERE consumer_group = $1""",
        group,
    )
    store = ObjectStore(load(ObjectStoreSettings))
    too_old = _OLD + timedelta(seconds=settings.sweep_seconds)
    # What is left over is from the last days: today's and yesterday's folders tell whether the sweep runs.
    days = [datetime.now(UTC).date() - timedelta(days=back) for back in (0, 1)]
    keys = set()
    try:
        for day in days:
            prefix = f"{settings.prefix}{around.kafka.events_topic}/{day:%Y/%m/%d}/"
            keys |= {found.key async for found in store.listing(prefix) if found.age > too_old}
    except Unavailable as error:
        raise Away("the bucket", error) from error
    named = await around.rows("SELECT key FROM archive_files WHERE key = ANY($1::text[])", list(keys))
    orphans = len(keys) - len(named)
    return judge(
        files=row["files"],
        newest=row["newest"],
        holes=row["holes"],
        unaccounted=row["settled"] - row["listed"],
        orphans=orphans,
    )


CHECKS = (
    Check(
        name="archive",
        at="holes and counts of the archive's manifest; files of the last two days that it does not name",
        look=_look,
        symptoms=(GAPS, ORPHANS),
        seconds=15,
    ),
)
