"""Dead letters that nobody has dealt with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ops.doctor.finding import Check, Finding, Symptom, ago, well
from ops.doctor.surroundings import Surroundings

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


CHECKS = (
    Check(
        name="dlq",
        at="open dead letters of each group, and the age of the oldest; what the topic has and the table has not is "
        "in lag",
        look=_look,
        symptoms=(LETTERS_OPEN,),
    ),
)
