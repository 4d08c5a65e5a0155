"""Dead letters and parked rows that nobody has dealt with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.surroundings import Surroundings
from streams.outboxes import ALL

LETTERS_OPEN = Symptom(
    name="dead-letters-open",
    says="events could not be applied, and nobody has dealt with them",
    users="Their effect is missing in this sink: a share that the store refused is not in its owner's list, and its "
    "link "
    "ends with Redis's memory of it.",
    do="wishlist dlq list; docs/operations.md says how to decide",
    over="wishlist dlq list is empty.",
    alerts=("wishlist-dlq-not-empty", "wishlist-dlq-not-counted"),
)


ROWS_PARKED = Symptom(
    name="rows-parked",
    says="rows of outboxes are parked, and nobody has dealt with them",
    users="Their own work is not done: a digest, push or webhook call is not sent, a card stays the generic picture. "
    "All other rows go on.",
    do="wishlist dlq list; wishlist dlq show OUTBOX/ROW says why; mend the cause, then wishlist dlq redrive "
    "OUTBOX/ROW, or discard it",
    over="wishlist dlq list is empty.",
    alerts=("wishlist-rows-parked",),
)


def judge(letters: Mapping[str, tuple[int, float]]) -> list[Finding]:
    """*letters*: how many open ones each group has, and the age of the oldest in seconds."""
    if not letters:
        return [well("no open letters")]
    each = ", ".join(f"{count:,} of {group}" for group, (count, _) in sorted(letters.items()))
    oldest = max(age for _, age in letters.values())
    return [LETTERS_OPEN.found(f"{each}; the oldest is {ago(oldest)} old")]


async def _look(around: Surroundings) -> Iterable[Finding]:
    rows = await around.rows(
        """SELECT consumer_group, count(*) AS open,
                  greatest(0, extract(epoch FROM now() - min(last_failure)))::float8 AS age
           FROM dead_letters WHERE state = 'open' GROUP BY 1"""
    )
    return judge({row["consumer_group"]: (row["open"], row["age"]) for row in rows})


def judge_parked(rows: Mapping[str, tuple[int, float]]) -> list[Finding]:
    """*rows*: how many parked ones each outbox has, and the age of the oldest in seconds."""
    if not rows:
        return [well("no parked rows")]
    each = ", ".join(f"{count:,} of {outbox}" for outbox, (count, _) in sorted(rows.items()))
    oldest = max(age for _, age in rows.values())
    return [ROWS_PARKED.found(f"{each}; the oldest for {ago(oldest)}")]


async def _look_at_rows(around: Surroundings) -> Iterable[Finding]:
    parked = {}
    for table in ALL:
        row = await around.row(
            f"""SELECT count(*) AS count,
                       coalesce(extract(epoch FROM now() - min({table.prefix}parked_at)), 0)::float8 AS age
                FROM {table.table} WHERE {table.is_parked}"""
        )
        if row["count"]:
            parked[table.name] = (row["count"], row["age"])
    return judge_parked(parked)


CHECKS = (
    Check(
        name="dlq",
        at="open dead letters of each group, and the age of the oldest; what the topic has and the table has not is "
        "in lag",
        look=_look,
        symptoms=(LETTERS_OPEN,),
    ),
    Check(
        name="parked",
        at="parked rows of each outbox and periodic job, and the age of the oldest",
        look=_look_at_rows,
        symptoms=(ROWS_PARKED,),
    ),
)
