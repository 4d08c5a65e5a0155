"""The clocks of everybody who stamps something, against this machine's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, without saying so
from redis.asyncio import Redis

from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import ANSWER_SECONDS, Away, Surroundings

# What a machine that keeps its clock by NTP is never off by.
TOLERANCE_SECONDS = 2.0

CLOCK_OFF = Symptom(
    name="clock-off",
    says="a clock is off",
    users="Redis's clock decides on limits: where it jumps ahead people are let through, where it jumps back they are "
    "refused "
    "(429) well under their limit. PostgreSQL's decides on expiries and on what is due; an API's and a worker's on "
    "the times "
    "of events, and whether a token is still good.",
    do="chronyc tracking (or timedatectl) on the machine named; where every other one is off by the same, it is this "
    "one",
    over="The check clocks is well. Limits are right again within their window: an hour for shares, a minute for "
    "look-ups.",
    page="P3, business hours",
    alerts=("wishlist-clock-off",),
)
FUTURE = Symptom(
    name="records-from-the-future",
    says="Kafka's newest record is from the future",
    users="The events of one API or worker are later than they were: digests and statistics have them on the wrong "
    "day.",
    do="chronyc tracking on each machine that runs the API or persist; the clocks' check names the processes that "
    "answer",
    over="New events have the right time; the check is well once that time has passed.",
    alerts=("wishlist-clock-off",),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """*whose* clock was *ahead* of ours by so many seconds, give or take *error*."""

    whose: str
    ahead: float
    error: float = 0.0

    @property
    def surely(self) -> float:
        """How far it is off at least, to either side."""
        return max(0.0, abs(self.ahead) - self.error)


def judge(readings: Sequence[Reading], newest: float | None) -> list[Finding]:
    """*newest* is how far Kafka's newest record is ahead of our clock, in seconds; None where there is none."""
    off = [one for one in readings if one.surely > TOLERANCE_SECONDS]
    found = []
    if off:
        words = ", ".join(
            f"{one.whose} {abs(one.ahead):,.1f} s {'ahead' if one.ahead > 0 else 'behind'}" for one in off
        )
        found.append(CLOCK_OFF.found(f"{words} (against this machine)"))
    if newest is not None and newest > TOLERANCE_SECONDS:
        found.append(FUTURE.found(f"{newest:,.1f} s ahead"))
    if found:
        return found
    most = max((one.surely for one in readings), default=0.0)
    return [well(f"{len(readings)} clocks agree with this one within {max(most, 0.1):.1f} s")]


async def read(whose: str, ask: Callable[[], Awaitable[float]]) -> Reading:
    """*ask* answers a Unix time; where it was within the question's time is not known."""
    asked = time.time()
    theirs = await ask()
    answered = time.time()
    return Reading(whose, theirs - (asked + answered) / 2, (answered - asked) / 2)


async def _look(around: Surroundings) -> Iterable[Finding]:
    async def postgres() -> float:
        row = await around.row("SELECT extract(epoch FROM clock_timestamp())::float8 AS at")
        return float(row["at"])

    async def redis() -> float:
        async def ask(client: Redis) -> tuple[int, int]:
            return await client.time()

        seconds, micros = await around.redis(ask)
        return seconds + micros / 1_000_000

    # The first question pays for the connection, and only the second one's time is narrow.
    asked = await asyncio.gather(_twice("PostgreSQL", postgres), _twice("Redis", redis), return_exceptions=True)
    for outcome in asked:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Away):
            raise outcome
    readings = [outcome for outcome in asked if isinstance(outcome, Reading)]
    readings += [Reading(page.name, page.ahead, page.error) for page in await around.pages() if page.ahead is not None]
    if not readings:
        raise Away("every clock but this one", "neither PostgreSQL, Redis nor one of our processes tells the time")
    try:
        newest = await around.brokers(lambda admin: _newest(admin, around.kafka.events_topic))
    except Away:
        newest = None
    return judge(readings, newest)


async def _twice(whose: str, ask: Callable[[], Awaitable[float]]) -> Reading:
    await ask()
    return await read(whose, ask)


def _newest(admin: AdminClient, topic: str) -> float | None:
    partitions = admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
    which = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    answers = admin.list_offsets(
        {TopicPartition(topic, one): which for one in partitions}, request_timeout=ANSWER_SECONDS
    )
    stamps = [answer.result(timeout=2 * ANSWER_SECONDS).timestamp for answer in answers.values()]
    newest = max((stamp for stamp in stamps if stamp is not None and stamp > 0), default=None)
    return None if newest is None else newest / 1_000 - time.time()


CHECKS = (
    Check(
        name="clocks",
        at="the clocks of PostgreSQL, Redis and our processes, and of whoever wrote Kafka's newest record",
        look=_look,
        symptoms=(CLOCK_OFF, FUTURE),
        seconds=15,
    ),
)
