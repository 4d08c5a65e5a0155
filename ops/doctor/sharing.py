"""What customers meet: how long creation takes, what fails, limits that hold or let through, links that must open."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from typing import cast

from redis.asyncio import Redis

from clients.links import TOMBSTONE, share_key
from clients.log_ends import LogEnds
from config.settings import StreamSettings, load
from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.pages import Page, between
from ops.doctor.surroundings import Away, Surroundings
from sinks.share_store import GROUP

CREATE = "/api/v2/wishlists/{wishlist}/share"
# Spec, runbook: "share creation latency > 3 s (normal: < 1 s)". The histogram's bounds next to them.
SLOW_SECONDS = 2.5
SLOW_SHARE, FAILED_SHARE, REFUSED_SHARE = 0.01, 0.01, 0.5
FEW = 20
_LINKS = 500
_APPLIED_SECONDS = 4.0

CREATION_SLOW = Symptom(
    name="creation-slow",
    says="creating a share takes long",
    users="Customers wait for their link.",
    do="see the checks brokers (an append waits up to KAFKA_SEND_TIMEOUT_SECONDS, then goes to the outbox), postgres "
    "and "
    "redis; where they are well, start another API process",
    over="wishlist doctor --only creation --watch 60 says that it is quick.",
    alerts=("wishlist-creation-slow",),
)
REQUESTS_FAIL = Symptom(
    name="requests-fail",
    says="the API answers requests with 5xx",
    users="They see an error; clients that try again succeed once it has passed.",
    do="see the checks postgres and migrations; ./run logs api names the requests",
    over="wishlist doctor --only creation --watch 60 counts none.",
    broken=True,
    alerts=("wishlist-api-unavailable",),
)
FAILS_OPEN = Symptom(
    name="limits-fail-open",
    says="limits let everybody through, without Redis",
    users="None notices. Spam is held only by each process's own cap (API_FALLBACK_LIMIT_PER_MINUTE).",
    do="see the check redis",
    over="wishlist doctor --only limits --watch 60 counts none.",
    alerts=("wishlist-rate-limiter-fails-open",),
    page="P3, business hours",
)
MUCH_REFUSED = Symptom(
    name="limits-refuse",
    says="limits refuse a large part of the requests",
    users="People are answered 429. Right where somebody floods; wrong where a clock has jumped, or where many come "
    "from one "
    "address (a proxy that API_TRUSTED_PROXIES does not name).",
    do="see the check clocks, and API_TRUSTED_PROXIES; redis-cli -u $REDIS_URL --scan --pattern 'rate:share_create:*' "
    "shows "
    "who is counted, zcard how often",
    over="wishlist doctor --only limits --watch 60 says so.",
    alerts=("wishlist-rate-limiter-refuses",),
    page="P3, business hours",
)
DEAD_LINK = Symptom(
    name="links-dead",
    says="Redis calls shares ended that are alive in PostgreSQL",
    users="Valid links answer 404.",
    do="redis-cli -u $REDIS_URL del {keys}; the next look-up reads them from PostgreSQL",
    over="The check links is well.",
    broken=True,
)


def judge_creation(before: Sequence[Page], after: Sequence[Page]) -> list[Finding]:
    """What two looks at the API's pages say of the time in between."""
    found = []
    timed = "wishlist_http_request_seconds"
    made = between(before, after, f"{timed}_count", route=CREATE)
    quick = between(before, after, f"{timed}_bucket", route=CREATE, le=str(SLOW_SECONDS))
    if made and (made - quick) / made > SLOW_SHARE:
        found.append(CREATION_SLOW.found(f"{made - quick:.0f} of {made:.0f} took longer than {SLOW_SECONDS} s"))
    statuses = {status for page in after for status in page.labels("wishlist_http_requests_total", "status")}
    answered = {one: between(before, after, "wishlist_http_requests_total", status=one) for one in statuses}
    every = sum(answered.values())
    failed = {one: many for one, many in answered.items() if one.startswith("5") and many}
    if every and sum(failed.values()) / every > FAILED_SHARE:
        words = ", ".join(f"{many:.0f} × {one}" for one, many in sorted(failed.items()))
        found.append(REQUESTS_FAIL.found(f"{words} of {every:.0f} requests"))
    slowest = _most(after, timed, CREATE)
    since = f"; since its start 99 % within {slowest} s" if slowest else ""
    return found or [well(f"{every:.0f} requests, {made:.0f} of them new shares, while it was watched{since}")]


def judge_limits(before: Sequence[Page], after: Sequence[Page]) -> list[Finding]:
    """What two looks at the API's pages say of the limits in between."""
    found = []
    opened = between(before, after, "wishlist_rate_limit_fail_open_total")
    checks = between(before, after, "wishlist_rate_limit_checks_total")
    if opened:
        found.append(FAILS_OPEN.found(f"{opened:.0f} of {checks:.0f} requests"))
    for limit in sorted({one for page in after for one in page.labels("wishlist_rate_limit_checks_total", "limit")}):
        asked = between(before, after, "wishlist_rate_limit_checks_total", limit=limit)
        refused = between(before, after, "wishlist_rate_limit_blocks_total", limit=limit)
        if asked >= FEW and refused / asked > REFUSED_SHARE:
            found.append(MUCH_REFUSED.found(f"{limit}: {refused:.0f} of {asked:.0f}"))
    ever = [
        sum(page.total(f"wishlist_rate_limit_{what}_total") for page in after)
        for what in ("checks", "blocks", "fail_open")
    ]
    since = "since their start {:.0f} checks, {:.0f} refused, {:.0f} without Redis".format(*ever)
    return found or [well(f"{checks:.0f} checks while it was watched; {since}")]


def _most(pages: Sequence[Page], timed: str, route: str) -> str:
    """The bound that 99 of 100 requests of *route* have kept since their process's start; empty without requests."""
    every = sum(page.total(f"{timed}_count", route=route) for page in pages)
    bounds = {bound for page in pages for bound in page.labels(f"{timed}_bucket", "le")}
    for bound in sorted(bounds, key=float):
        if every and sum(page.total(f"{timed}_bucket", route=route, le=bound) for page in pages) >= 0.99 * every:
            return bound if not math.isinf(float(bound)) else "more than 5"
    return ""


async def _twice(around: Surroundings) -> tuple[list[Page], list[Page]]:
    """The API's pages before and after it was watched."""
    before, after = (
        [page for page in pages if page.name == "api" and page.status is not None]
        for pages in (await around.pages(), await around.pages_later())
    )
    if not before or not after:
        raise Away("the API", "DOCTOR_PROCESSES names none that answers")
    return before, after


async def _creation(around: Surroundings) -> Iterable[Finding]:
    return judge_creation(*await _twice(around))


async def _limits(around: Surroundings) -> Iterable[Finding]:
    return judge_limits(*await _twice(around))


async def _links(around: Surroundings) -> Iterable[Finding]:
    rows = await around.rows(
        """(SELECT share_token FROM wishlist_shares
            WHERE NOT is_revoked AND expired_at IS NULL AND expires_at > now() ORDER BY expires_at DESC LIMIT $1)
           UNION ALL
           (SELECT share_token FROM wishlist_shares
            WHERE NOT is_revoked AND expired_at IS NULL AND expires_at IS NULL LIMIT $1)""",
        _LINKS,
    )
    keys = [share_key(row["share_token"]) for row in rows]

    async def ask(redis: Redis) -> list[bytes | None]:
        return cast("list[bytes | None]", await redis.mget(keys)) if keys else []

    held = await around.redis(ask)
    dead = [key.removeprefix(share_key("")) for key, value in zip(keys, held, strict=True) if value == TOMBSTONE]
    if dead:
        await _all_applied(around)
        # What is revoked by now, or will be once its event is sent or sent back, has its tombstone rightly.
        rows = await around.rows(
            """SELECT share_token FROM wishlist_shares s
               WHERE share_token = ANY($1::text[]) AND NOT is_revoked AND expired_at IS NULL
                 AND NOT EXISTS (SELECT FROM event_outbox o WHERE o.share_token = s.share_token)
                 AND NOT EXISTS (SELECT FROM dead_letters d
                                 WHERE d.state = 'open' AND d.key = convert_to(s.share_token, 'UTF8'))""",
            dead,
        )
        if rows:
            shown = " ".join(share_key(row["share_token"]) for row in rows[:3])
            return [DEAD_LINK.found(f"{len(rows)} of {len(keys)} living shares", keys=shown)]
    return [well(f"none of {len(keys)} living shares has a tombstone")]


async def _all_applied(around: Surroundings) -> None:
    """Return when the share store has applied what the topic has now: among it may be the revocations."""
    group, topic = GROUP + load(StreamSettings).group_suffix, around.kafka.events_topic
    ends = await LogEnds(around.kafka).of_topic(topic)
    if ends is None:
        raise Away("Kafka", "no broker says whether revocations are on their way")
    give_up = time.monotonic() + _APPLIED_SECONDS
    while time.monotonic() < give_up:
        rows = await around.rows(
            "SELECT partition, next_offset FROM watermarks WHERE (consumer_group, topic) = ($1, $2)", group, topic
        )
        marks = {row["partition"]: row["next_offset"] for row in rows}
        if all(marks.get(number, 0) >= end for number, end in ends.items()):
            return
        await asyncio.sleep(0.5)
    raise Away("persist", "it is behind, and revocations may be on their way")


CHECKS = (
    Check(
        name="creation",
        at="the API's answers while it is watched: how long creating a share takes, how many fail",
        look=_creation,
        symptoms=(CREATION_SLOW, REQUESTS_FAIL),
        seconds=20,
    ),
    Check(
        name="limits",
        at="the rate limiter's checks, refusals, and what passed without Redis, while it is watched",
        look=_limits,
        symptoms=(FAILS_OPEN, MUCH_REFUSED),
        seconds=20,
    ),
    Check(
        name="links",
        at="the shares of PostgreSQL that live longest, mostly new ones, and whether Redis has a tombstone for them",
        look=_links,
        symptoms=(DEAD_LINK,),
    ),
)
