"""The renderer, its breaker, and the pictures that wait for it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpx
from redis.asyncio import Redis

from clients import breaker_board
from config.settings import RendererSettings, load
from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.pages import Page
from ops.doctor.surroundings import Away, Surroundings

WAIT_SECONDS = 60.0
TRIES = 5
# Pictures are removed as they are withdrawn: so many at once are a day's sweep at most.
UNPURGED = 1_000

RENDERER_AWAY = Symptom(
    name="renderer-away",
    says="svc-og-renderer does not answer",
    users="Shares are made as before. New ones show a card drawn without a browser, else the generic picture.",
    do="./run logs renderer; ./run up (systemd: systemctl restart svc-og-renderer). Pictures then come by themselves, "
    "oldest view first",
    over="The checks renderer, breaker and previews are well.",
    broken=True,
    alerts=("og-renderer-circuit-breaker-open",),
    page="P2, deepak.patel, where it lasts longer than an hour",
)
RENDERER_ILL = Symptom(
    name="renderer-unhealthy",
    says="svc-og-renderer cannot draw or store cards",
    users="As when it does not answer.",
    do="where the bucket is at fault, see the check bucket; else ./run down renderer && ./run up, and ./run logs "
    "renderer "
    "(systemd: systemctl restart svc-og-renderer)",
    over="The check renderer is well.",
    broken=True,
    alerts=("og-renderer-error-rate",),
    page="P2, deepak.patel, where it lasts longer than an hour",
)
POOL_BUSY = Symptom(
    name="renderer-busy",
    says="every page of the browser pool is at work",
    users="Cards queue for up to RENDERER_QUEUE_SECONDS, then wait as rows: pictures come late.",
    do="ask again (wishlist doctor --only renderer previews); if pictures wait: start another renderer, or raise "
    "RENDERER_BROWSERS and its memory limit",
    over="Pages are idle, and the check previews is well.",
    alerts=("wishlist-renderer-pool-busy", "og-renderer-high-render-time"),
)
BREAKER_OPEN = Symptom(
    name="breaker-open",
    says="the breaker og-renderer-cb is open",
    users="New shares get a card drawn without a browser. Nobody waits.",
    do="none for the breaker, it tries again by itself; see the check renderer for what is wrong",
    over="The check breaker is well; what waited is drawn, oldest view first.",
    alerts=("og-renderer-circuit-breaker-open",),
    page="P2, deepak.patel, where it lasts longer than an hour",
)
BREAKER_FORCED = Symptom(
    name="breaker-forced",
    says="pictures have been stopped by hand",
    users="Shares without a picture get the generic one.",
    do="wishlist previews --live, once whoever stopped them agrees",
    over="The check breaker is well.",
)
PREVIEWS_WAIT = Symptom(
    name="previews-waiting",
    says="pictures wait to be drawn",
    users="These shares show a card drawn without a browser, or the generic picture.",
    do="see the checks renderer and breaker; where those are well: ./run logs preview",
    over="The check previews is well.",
    alerts=("og-renderer-error-rate",),
)
UNPURGED_PICTURES = Symptom(
    name="pictures-not-removed",
    says="pictures of shares that have ended still lie in the bucket",
    users="None: no page serves them. They cost storage, and people were promised that they go.",
    do="see the check bucket; ./run logs preview",
    over="The check previews is well.",
)


@dataclass(frozen=True, slots=True)
class Pool:
    """The renderer's own word: is it well, its pages, and the bucket."""

    healthy: bool
    total: int
    available: int
    busy: int
    bucket: str
    proof: float


def judge_pool(pool: Pool) -> Finding:
    """What the renderer says of itself."""
    pages = f"{pool.available} of {pool.total} pages idle"
    if not pool.healthy:
        cause = "its bucket does not answer" if pool.bucket != "ok" else f"no card for {ago(pool.proof)}"
        return RENDERER_ILL.found(f"{cause}, {pages}")
    if not pool.available and pool.busy >= pool.total:
        return POOL_BUSY.found(f"{pool.busy} of {pool.total}")
    return well(f"{pages}, a card was drawn {ago(pool.proof)} ago")


def judge_breaker(forced: bool, workers: int, pages: Sequence[Page]) -> Finding:
    """*workers* is how many have said in Redis that theirs is open; the pages are asked too."""
    states = [
        state
        for page in pages
        for state in page.labels("resilience4j_circuitbreaker_state", "state")
        if page.total("resilience4j_circuitbreaker_state", name="og-renderer-cb", state=state)
    ]
    if forced:
        return BREAKER_FORCED.found("")
    if workers or "open" in states:
        return BREAKER_OPEN.found(f"in {max(workers, states.count('open'))} preview workers")
    if "half_open" in states:
        return well("half open: the next pictures decide")
    return well("closed" if states else "closed, as far as Redis knows")


def judge_previews(due: int, overdue: float, tries: int, error: str | None, unpurged: int) -> list[Finding]:
    """*overdue* is how long the first of the due ones has been so, in seconds; *tries* the most that any has had."""
    found = []
    if due and (overdue > WAIT_SECONDS or tries >= TRIES):
        why = f", the last error is {error}" if error else ""
        found.append(PREVIEWS_WAIT.found(f"{due:,}, due for {ago(overdue)}, tried up to {tries} times{why}"))
    if unpurged > UNPURGED:
        found.append(UNPURGED_PICTURES.found(f"{unpurged:,}"))
    return found or [well(f"{due:,} wait" if due else "none waits")]


async def _renderer(around: Surroundings) -> Iterable[Finding]:
    url = load(RendererSettings).url
    try:
        async with around.http() as http:
            answer = await http.get(f"{url}/healthz")
            body = answer.json()
            pool = body["browser_pool"]
            said = Pool(
                answer.status_code == 200,
                int(pool["total"]),
                int(pool["available"]),
                int(pool["busy"]),
                str(body["r2_connection"]),
                float(body["canary_age_seconds"]),
            )
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Away("the renderer", f"{url}: {str(error) or type(error).__name__}") from error
    return [judge_pool(said)]


async def _breaker(around: Surroundings) -> Iterable[Finding]:
    async def board(redis: Redis) -> tuple[bool, int]:
        return (
            await breaker_board.is_forced(redis),
            int(await redis.zcount(breaker_board.PREVIEWS, time.time(), math.inf)),
        )

    forced, workers = await around.redis(board)
    return [judge_breaker(forced, workers - forced, await around.pages())]


async def _previews(around: Surroundings) -> Iterable[Finding]:
    row = await around.row(
        """SELECT count(*) FILTER (WHERE is_due) AS due, max(attempts) FILTER (WHERE is_due) AS tries,
                  extract(epoch FROM now() - min(due_at) FILTER (WHERE is_due))::float8 AS overdue,
                  (array_agg(reason ORDER BY attempts DESC)
                       FILTER (WHERE is_due AND reason IS NOT NULL))[1] AS error,
                  count(*) FILTER (WHERE NOT is_due) AS unpurged
           FROM (SELECT state = 'due' AS is_due, attempts, due_at, reason FROM previews
                 WHERE state = 'due'
                    OR (state IN ('withdrawn', 'swept') AND purged_at IS NULL AND purge_parked_at IS NULL)) waiting"""
    )
    return judge_previews(row["due"], row["overdue"] or 0.0, row["tries"] or 0, row["error"], row["unpurged"])


CHECKS = (
    Check(
        name="renderer",
        at="svc-og-renderer's /healthz: whether it can draw, its pages, its bucket",
        look=_renderer,
        away=RENDERER_AWAY,
        symptoms=(RENDERER_ILL, POOL_BUSY),
    ),
    Check(
        name="breaker",
        at="the breaker's state in Redis and in the preview workers",
        look=_breaker,
        symptoms=(BREAKER_FORCED, BREAKER_OPEN),
        seconds=15,
    ),
    Check(
        name="previews",
        at="pictures that wait to be drawn, and those that wait to be removed",
        look=_previews,
        symptoms=(PREVIEWS_WAIT, UNPURGED_PICTURES),
    ),
)
