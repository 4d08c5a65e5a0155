"""Rows that wait to be worked off, and for how long the first of them has been due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.surroundings import Surroundings
from streams import due_work
from streams.due_work import DueWork

OUTBOX_WAITS = Symptom(
    name="outbox-waiting",
    says="events wait in the outbox",
    users="Nobody who shares notices. Statistics, digests, pushes and pictures of these events come late; their links "
    "work.",
    do="see the check brokers; where that is well: ./run logs persist and ./run logs api, for why the relay waits",
    over="The check outbox is well: the relay empties it by itself, in order.",
    alerts=("wishlist-kafka-errors", "wishlist-kafka-away", "wishlist-work-late"),
)
EXPIRIES_LATE = Symptom(
    name="expiries-late",
    says="shares that have expired are not announced",
    users="None: links end by the clock. Digests, webhooks and statistics hear of it late.",
    do="see the checks lag and outbox: the sweep waits for both; else ./run logs persist",
    over="The check expiries is well.",
    alerts=("wishlist-expiries-late",),
)
DIGESTS_WAIT = Symptom(
    name="digests-waiting",
    says="digests are late",
    users="Owners get their daily letter late; none is lost or sent twice.",
    do="see the check queue; ./run logs digest",
    over="The check digests is well.",
    alerts=("wishlist-work-late",),
)
PUSHES_WAIT = Symptom(
    name="pushes-waiting",
    says="pushes are late",
    users="Owners hear late that something was added; after a day not at all.",
    do="./run logs push: FCM's or APNs' answers are there; check FCM_SERVICE_ACCOUNT_FILE and APNS_KEY_FILE",
    over="The check pushes is well.",
    alerts=("wishlist-work-late",),
)
WEBHOOKS_WAIT = Symptom(
    name="webhooks-waiting",
    says="calls to webhooks are late that have not failed",
    users="Receivers hear late of events; after three days not at all.",
    do="./run logs webhook; a second worker calls a hundred more at once",
    over="The check webhooks is well.",
    alerts=("wishlist-work-late",),
)
SHOP_WEBHOOK_OFF = Symptom(
    name="webhook-of-the-shop-disabled",
    says="the shop's own webhook was disabled after failures in a row",
    users="The shop's systems hear of nothing any more, and will not hear of what has happened meanwhile.",
    do="wishlist webhook show; mend the receiver, then wishlist webhook set it again",
    over="The check webhooks is well.",
    alerts=("wishlist-work-late",),
)
LINKS_WAIT = Symptom(
    name="ended-lists-waiting",
    says="links of deleted lists wait to be ended",
    users="While PostgreSQL is there these links answer 404. The CDN may still show pages and pictures.",
    do="see the check redis, and API_PURGE_URL; ./run logs preview",
    over="The check ended is well.",
    alerts=("wishlist-work-late",),
)
ERASURES_WAIT = Symptom(
    name="erasures-waiting",
    says="people who asked to be removed are not yet removed from every store",
    users="None notices. The promise to them is not kept yet.",
    do="wishlist erase: it goes on where it was; what has to wait says until when (docs/erasure.md)",
    over="The check ended is well.",
    alerts=("wishlist-work-late",),
)


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work, and what it is a symptom of when it is late."""

    due: DueWork
    symptom: Symptom


@dataclass(frozen=True, slots=True)
class Waiting:
    """What there is of a kind of work."""

    waiting: int
    oldest: float
    tries: int


def judge(work: Work, found: Waiting) -> Finding:
    """Whether it is late."""
    due = work.due
    if not found.waiting:
        return well(f"no {due.what}")
    if found.oldest > due.seconds or found.tries >= due.tries:
        tried = f", tried up to {found.tries} times" if found.tries else ""
        return work.symptom.found(f"{due.what}: {found.waiting:,}, for {ago(found.oldest)}{tried}")
    return well(f"{due.what} under way: {found.waiting:,}")


OUTBOX = Work(due_work.OUTBOX, OUTBOX_WAITS)
EXPIRIES = Work(due_work.EXPIRIES, EXPIRIES_LATE)
DIGESTS = (
    Work(due_work.DIGESTS_TO_CLOSE, DIGESTS_WAIT),
    Work(due_work.DIGESTS_TO_SEND, DIGESTS_WAIT),
)
PUSHES = (
    Work(due_work.PUSHES_TO_ANNOUNCE, PUSHES_WAIT),
    Work(due_work.PUSHES_TO_SEND, PUSHES_WAIT),
)
WEBHOOKS = (
    Work(due_work.WEBHOOK_CALLS, WEBHOOKS_WAIT),
    Work(due_work.SHOP_WEBHOOK, SHOP_WEBHOOK_OFF),
)
ENDED = (
    Work(due_work.ENDED_LISTS, LINKS_WAIT),
    Work(due_work.REMOVED_PEOPLE, ERASURES_WAIT),
)


def _check(name: str, at: str, works: Sequence[Work]) -> Check:
    async def look(around: Surroundings) -> Iterable[Finding]:
        found = []
        for work in works:
            row = await around.row(work.due.sql)
            found.append(judge(work, Waiting(row["waiting"], row["oldest"] or 0.0, row["tries"] or 0)))
        bad = [finding for finding in found if finding.level]
        return bad or [well(", ".join(finding.seen for finding in found))]

    symptoms = tuple(dict.fromkeys(work.symptom for work in works))
    return Check(name=name, at=at, look=look, symptoms=symptoms)


CHECKS = (
    _check("outbox", "events that wait to be sent to Kafka, and for how long", [OUTBOX]),
    _check("expiries", "shares whose time is over and whose expiry is not announced", [EXPIRIES]),
    _check("digests", "digests to be closed and to be sent, and for how long they have been due", DIGESTS),
    _check("pushes", "pushes to be announced and to be delivered, and for how long they have been due", PUSHES),
    _check("webhooks", "calls that wait though their receiver has not failed; the shop's own webhook", WEBHOOKS),
    _check("ended", "deleted lists and removed people that not every store has heard of", ENDED),
)
