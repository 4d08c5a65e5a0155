"""PostgreSQL: whether it answers, its connections, what holds others up, and the migrations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import asyncpg

from ops import migrations
from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import Away, Surroundings

# Of all connections: from here on it is worth a look, and from there on clients will be turned away.
MANY, FULL = 0.80, 0.95
LONG_SECONDS = 60.0

POSTGRES_AWAY = Symptom(
    name="postgres-away",
    says="PostgreSQL does not answer",
    users="No share can be made (503); links that Redis knows open, lists and settings do not. Agents wait, nothing "
    "is lost.",
    do="bring PostgreSQL back (./run up; pg_isready -d $POSTGRES_DSN says whether it listens); nothing else needs a "
    "restart",
    over="The check postgres is well, then lag.",
    broken=True,
    alerts=("wishlist-api-unavailable", "wishlist-group-waiting"),
    page="P1, database-oncall, at once",
)
CONNECTIONS = Symptom(
    name="connections-short",
    says="connections run short",
    users="Once they are used up requests are answered 503, and agents wait.",
    do="SELECT application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC (psql "
    "$POSTGRES_DSN) says whose they are; end what hangs, or lower POSTGRES_POOL_SIZE, or raise max_connections",
    over="Fewer than 80 % are used.",
    alerts=("wishlist-api-unavailable",),
)
CONNECTIONS_GONE = Symptom(
    name="connections-used-up",
    says="connections are used up",
    users="Requests are answered 503, agents wait.",
    do="psql as a superuser, for whom some are kept: SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
    "state = "
    "'idle in transaction'; then lower POSTGRES_POOL_SIZE, or raise max_connections",
    over="Fewer than 80 % are used.",
    broken=True,
    alerts=("wishlist-api-unavailable", "wishlist-group-waiting"),
    page="P1, database-oncall, at once",
)
LONG_QUERY = Symptom(
    name="query-long",
    says="a query runs, or holds a transaction open, for longer than a minute",
    users="None by itself; what it has locked waits.",
    do="SELECT pid, now() - xact_start, state, left(query, 80) FROM pg_stat_activity WHERE pid IN ({pids}) (psql "
    "$POSTGRES_DSN); if nobody needs it: SELECT pg_terminate_backend(pid) for each",
    over="The check postgres is well.",
)
MIGRATIONS_MISSING = Symptom(
    name="migrations-missing",
    says="migrations are missing",
    users="What needs the new tables fails: requests with 500 or 503, agents wait or put events among the dead "
    "letters.",
    do="wishlist migrate; then wishlist dlq list, and send back what was refused meanwhile",
    over="The check migrations is well, and no letters are open.",
    broken=True,
)
MIGRATIONS_NEWER = Symptom(
    name="migrations-newer",
    says="the database has migrations that this version does not know",
    users="None, as long as each process is of the newer version.",
    do="bring this checkout to the version that runs; to go back instead: wishlist rollback --above {number}",
    over="The check migrations is well.",
)


def judge_connections(used: int, most: int) -> Finding:
    """Whether connections are left."""
    seen = f"{used} of {most}"
    if used >= FULL * most:
        return CONNECTIONS_GONE.found(seen)
    if used >= MANY * most:
        return CONNECTIONS.found(seen)
    return well(f"{seen} connections used")


def judge_migrations(applied: Mapping[int, str], known: Sequence[migrations.Migration]) -> list[Finding]:
    """Whether the database is at this version's schema."""
    found = []
    missing = [step for step in known if step.number not in applied]
    newer = sorted(applied.keys() - {step.number for step in known})
    if missing:
        found.append(MIGRATIONS_MISSING.found(", ".join(f"{step.number:03d} {step.name}" for step in missing)))
    if newer:
        words = ", ".join(f"{number:03d} {applied[number]}" for number in newer)
        found.append(MIGRATIONS_NEWER.found(words, number=max(step.number for step in known)))
    return found or [well(f"{len(known)} applied, the newest is {known[-1].number:03d} {known[-1].name}")]


async def _postgres(around: Surroundings) -> Iterable[Finding]:
    try:
        row = await around.row(
            """SELECT current_setting('max_connections')::int
                          - current_setting('superuser_reserved_connections')::int AS most,
                      count(*) FILTER (WHERE backend_type = 'client backend') AS used,
                      array_agg(pid) FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                          AND state <> 'idle' AND xact_start < clock_timestamp() - make_interval(secs => $1)) AS long
               FROM pg_stat_activity""",
            LONG_SECONDS,
        )
    except Away as away:
        if isinstance(away.__cause__, asyncpg.TooManyConnectionsError):
            return [CONNECTIONS_GONE.found(away.why)]
        raise
    began = time.perf_counter()
    await around.row("SELECT 1")
    took = (time.perf_counter() - began) * 1_000
    found = [judge_connections(row["used"], row["most"])]
    if row["long"]:
        pids = ", ".join(map(str, row["long"]))
        found.append(LONG_QUERY.found(f"process {pids}", pids=pids))
    elif not found[0].level:
        found = [well(f"answers in {took:.0f} ms, {found[0].seen}, no query longer than {LONG_SECONDS:.0f} s")]
    return found


async def _migrations(around: Surroundings) -> Iterable[Finding]:
    try:
        rows = await around.rows("SELECT number, name FROM schema_migrations")
    except Away as away:
        if not isinstance(away.__cause__, asyncpg.UndefinedTableError):
            raise
        rows = []
    return judge_migrations({row["number"]: row["name"] for row in rows}, migrations.all_migrations())


CHECKS = (
    Check(
        name="postgres",
        at="whether it answers, connections used of those there are, queries that run for longer than a minute",
        look=_postgres,
        away=POSTGRES_AWAY,
        symptoms=(CONNECTIONS_GONE, CONNECTIONS, LONG_QUERY),
    ),
    Check(
        name="migrations",
        at="schema_migrations, against schemas/postgres",
        look=_migrations,
        symptoms=(MIGRATIONS_MISSING, MIGRATIONS_NEWER),
    ),
)
