"""Redis: whether it answers in time, and its memory."""

from __future__ import annotations

import time
from collections.abc import Iterable

from redis.asyncio import Redis

from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import Surroundings

# Of the time that the application waits: an answer this slow is late for some requests.
SLOW = 0.5
# Of maxmemory.
FULL = 0.90

REDIS_AWAY = Symptom(
    name="redis-away",
    says="Redis does not answer",
    users="Shares and links work, from PostgreSQL. Limits let everybody through, up to API_FALLBACK_LIMIT_PER_MINUTE "
    "for each "
    "process. Revoking a share is answered 503, since its link must end at once.",
    do="bring Redis back (./run up); it needs no data: what it has forgotten is read from PostgreSQL",
    over="The check redis is well, and limits do not fail open.",
    broken=True,
    alerts=("wishlist-rate-limiter-fails-open",),
    page="P3, business hours; platform-oncall where spam comes in",
)
REDIS_SLOW = Symptom(
    name="redis-slow",
    says="Redis answers slowly",
    users="Some requests wait for it up to REDIS_TIMEOUT_SECONDS, and are then let through without a limit.",
    do="redis-cli -u $REDIS_URL slowlog get 10, and --latency; see what else runs on its machine",
    over="The check redis is well.",
    alerts=("wishlist-rate-limiter-fails-open",),
)
REDIS_FULL = Symptom(
    name="redis-memory",
    says="Redis's memory is nearly full",
    users="Once it is full, limits fail open and revoked links may be forgotten or refused.",
    do="redis-cli -u $REDIS_URL --memkeys; raise maxmemory, or lower REDIS_SHARE_TTL_SECONDS",
    over="It uses less than 90 % of maxmemory.",
)
REDIS_EVICTS = Symptom(
    name="redis-evicts",
    says="Redis may throw keys away",
    users="A tombstone that is thrown away while PostgreSQL is away lets a revoked link open again.",
    do="redis-cli -u $REDIS_URL config set maxmemory-policy noeviction, and in its configuration",
    over="maxmemory-policy is noeviction.",
)


def judge(seconds: float, patience: float, used: int, most: int, policy: str) -> list[Finding]:
    """*seconds* is its best answer of several, *patience* what the application waits; *most* is 0 without a limit."""
    found = []
    if seconds > SLOW * patience:
        found.append(REDIS_SLOW.found(f"{seconds * 1_000:.0f} ms, the application waits for {patience * 1_000:.0f} ms"))
    if most and used > FULL * most:
        found.append(REDIS_FULL.found(f"{used / 1e6:,.0f} of {most / 1e6:,.0f} MB"))
    if most and policy != "noeviction":
        found.append(REDIS_EVICTS.found(f"maxmemory-policy is {policy}"))
    limit = f"of {most / 1e6:,.0f} MB" if most else "without a limit"
    return found or [well(f"answers in {seconds * 1_000:.1f} ms, {used / 1e6:,.0f} MB used {limit}")]


async def _redis(around: Surroundings) -> Iterable[Finding]:
    async def ask(redis: Redis) -> tuple[float, dict[str, object]]:
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            await redis.ping()
            best = min(best, time.perf_counter() - began)
        return best, await redis.info("memory")

    seconds, memory = await around.redis(ask)
    used, most = int(str(memory["used_memory"])), int(str(memory.get("maxmemory", 0)))
    return judge(seconds, around.redis_patience, used, most, str(memory.get("maxmemory_policy", "")))


CHECKS = (
    Check(
        name="redis",
        at="how quickly it answers, its memory, and what it does when that is full",
        look=_redis,
        away=REDIS_AWAY,
        symptoms=(REDIS_SLOW, REDIS_FULL, REDIS_EVICTS),
    ),
)
