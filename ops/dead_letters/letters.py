"""Dead letters as an operator sees them: what each is, which are meant, and how they are summed up."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from ops.dead_letters.masking import mask_text

_EPOCH = datetime.fromtimestamp(0, UTC)


class State(StrEnum):
    """What became of a letter. The first, the second and the last are stored; the others follow from what is seen."""

    OPEN = "open"
    """Nobody has dealt with it."""
    REDRIVEN = "redriven"
    """Sent back; its group has not read it yet."""
    APPLIED = "applied"
    """Sent back; its group has gone past it."""
    RETURNED = "returned"
    """Sent back and refused again: it is a newer letter now."""
    DISCARDED = "discarded"
    """Given up, with a reason."""


class LetterId(NamedTuple):
    """A letter's place in the DLQ, written ``2-417``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """The inverse of ``str``; raises :class:`ValueError` saying what an id looks like."""
        if not (found := re.fullmatch(r"(\d{1,9})-(\d{1,18})", text, re.ASCII)):
            raise ValueError(f"{text!r} is no dead letter's id; one looks like 2-417, see wishlist dlq list --letters")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its content. Times are aware.

    ``value_bytes`` is the whole value's size where only its first ``kept_bytes`` are left. ``sent_times`` counts what
    operators sent of this very letter; ``redrive_count`` what came before it. ``in_table`` is false where only the
    topic has it so far.
    """

    id: LetterId
    group: str
    event_id: UUID | None
    topic: str
    partition: int
    offset: int
    timestamp: datetime
    error_class: str
    error_message: str
    attempts: int
    first_failure: datetime
    last_failure: datetime
    redrive_count: int
    redrive_of: str | None
    kept_bytes: int
    value_bytes: int | None
    state: State = State.OPEN
    sent_times: int = 0
    returned_as: LetterId | None = None
    in_table: bool = True

    @property
    def timestamp_ms(self) -> int:
        """The record's own time, as Kafka has it: a version 1 event's id is made of it."""
        return (self.timestamp - _EPOCH) // timedelta(milliseconds=1)

    @property
    def sent_before(self) -> int:
        """How often the event was sent back, by this letter and by those before it."""
        return self.redrive_count + self.sent_times

    @property
    def message(self) -> str:
        """The error's message in one line: without a database's DETAIL, and what may be personal masked."""
        return " ".join(mask_text(self.error_message.partition("\nDETAIL:")[0]).split())


class Failure(Protocol):
    """What a dead letter and a parked row (:mod:`ops.dead_letters.rows`) have in common. Times are aware."""

    @property
    def id(self) -> Any: ...
    @property
    def group(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def event_id(self) -> UUID | None: ...
    @property
    def error_class(self) -> str: ...
    @property
    def error_message(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def last_failure(self) -> datetime: ...
    @property
    def state(self) -> State: ...
    @property
    def sent_before(self) -> int: ...
    @property
    def returned_as(self) -> LetterId | None: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: those that meet everything that is set. No ids means any."""

    ids: Collection[NamedTuple] = ()
    group: str | None = None
    error: str | None = None
    topic: str | None = None
    event: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: Collection[State] = frozenset(State)

    @property
    def names_something(self) -> bool:
        """Whether it says more than which states."""
        return any((self.ids, self.group, self.error, self.topic, self.event, self.since, self.until))

    def takes(self, letter: Failure) -> bool:
        """Whether *letter* is meant. ``error`` is part of the class or of the message, in any case."""
        return (
            (not self.ids or letter.id in self.ids)
            and self.group in (None, letter.group)
            and (self.error is None or self.error.lower() in f"{letter.error_class}: {letter.message}".lower())
            and self.topic in (None, letter.topic)
            and self.event in (None, letter.event_id)
            and (self.since is None or letter.last_failure >= self.since)
            and (self.until is None or letter.last_failure < self.until)
            and letter.state in self.states
        )


_AGES = (
    (timedelta(minutes=15), "under 15 min"),
    (timedelta(hours=1), "15 min to 1 h"),
    (timedelta(days=1), "1 h to 1 day"),
    (timedelta(days=7), "1 to 7 days"),
)


@dataclass(frozen=True, slots=True)
class Heap:
    """Letters of one group, error and age; ``newest`` stands for them."""

    group: str
    error_class: str
    age: str
    count: int
    newest: Failure


def age_of(letter: Failure, now: datetime) -> str:
    """The age of its last failure, in words; the topic has forgotten what is over 7 days old."""
    age = now - letter.last_failure
    return next((words for limit, words in _AGES if age < limit), "over 7 days")


def heaps(letters: Iterable[Failure], now: datetime) -> list[Heap]:
    """*letters* by group, error and age: by group's name, then the most letters first.

    Messages that differ only in numbers or in what is masked are one error.
    """
    found: dict[tuple[str, str, str, str], list[Failure]] = {}
    for letter in letters:
        kind = re.sub(r"\d+", "#", letter.message)
        found.setdefault((letter.group, letter.error_class, kind, age_of(letter, now)), []).append(letter)
    return sorted(
        (
            Heap(group, error, age, len(same), max(same, key=lambda letter: letter.last_failure))
            for (group, error, _, age), same in found.items()
        ),
        key=lambda heap: (heap.group, -heap.count, heap.newest.last_failure, str(heap.newest.id)),
    )


def refusal(letter: Letter, *, again: bool, max_redrives: int, readers: Mapping[str, Collection[str]]) -> str | None:
    """Why *letter* must not be sent back, with the remedy; None where it may. *readers* are each group's topics."""
    if letter.state is State.RETURNED:
        return f"came back as {letter.returned_as}: redrive that one"
    if letter.state is not State.OPEN and not again:
        return f"is {letter.state} already: --again sends it all the same"
    if letter.value_bytes is not None:
        return f"only {letter.kept_bytes:,} of its {letter.value_bytes:,} bytes were kept: discard it"
    if letter.topic not in readers.get(letter.group, ()):
        return f"no group {letter.group} has ever read {letter.topic} here: check KAFKA_* and STREAM_GROUP_SUFFIX"
    if letter.sent_before >= max_redrives:
        return (
            f"was sent back {letter.sent_before} times and refused again: a loop. Mend what refuses it, then allow "
            f"one more by DLQ_MAX_REDRIVES={letter.sent_before + 1}, or discard it"
        )
    return None
