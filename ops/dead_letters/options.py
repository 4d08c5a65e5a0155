"""What an operator says to `wishlist dlq`: options shared by its commands, read and checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from ops.dead_letters.letters import Filter, LetterId, State
from ops.dead_letters.rows import RowId

_AGE = re.compile(r"(\d{1,6})(s|m|min|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


def parse_time(text: str) -> datetime:
    """A moment (ISO 8601; UTC where it names no zone) or an age (``90m``, ``2h``, ``7d``) before now."""
    if age := _AGE.fullmatch(text.strip().lower()):
        return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a time nor an age; write 2026-03-01T02:30 (UTC), or 90m, 2h, 7d for so long ago"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_id(text: str) -> LetterId | RowId:
    """See :meth:`LetterId.parse` and :meth:`RowId.parse`."""
    try:
        return RowId.parse(text) if "/" in text else LetterId.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_event(text: str) -> UUID:
    """An event's id."""
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no event id; one is a UUID, as the logs and show have it") from None


Ids = Annotated[
    list[Any] | None,
    typer.Argument(parser=parse_id, metavar="ID", help="Letters, such as 2-417, and rows, such as digests/0192…."),
]
GroupName = Annotated[
    str | None, typer.Option("--group", help="Of this consumer group or outbox; a part of its name will do.")
]
ErrorWords = Annotated[str | None, typer.Option("--error", help="Whose error's class or message has these words.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Whose event lay in this topic.")]
EventId = Annotated[
    UUID | None, typer.Option("--event", parser=parse_event, metavar="UUID", help="Of the event with this id.")
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=parse_time, metavar="TIME", help="That failed last at or after: a time, or 2h, 7d."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=parse_time, metavar="TIME", help="That failed last before: a time, or 2h, 7d."),
]
Json = Annotated[bool, typer.Option("--json", help="For scripts: one JSON object.")]
Actor = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who asks, for the audit, where several share a login.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before many.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only so many, the oldest first.")]


def states_named(name: str) -> Collection[State]:
    """The states that ``--state`` means."""
    if name == "all":
        return frozenset(State)
    try:
        return {State(name)}
    except ValueError:
        raise typer.BadParameter(
            f"{name!r} is no state; there are {', '.join(State)}, and all", param_hint="--state"
        ) from None


def filter_of(
    ids: Sequence[LetterId | RowId] | None,
    error: str | None,
    topic: str | None,
    event: UUID | None,
    since: datetime | None,
    until: datetime | None,
    states: Collection[State],
) -> Filter:
    """Letters by their ids are meant in any state, so that one that must not go is refused by name."""
    named = tuple(ids or ())
    meant = frozenset(State) if named else states
    return Filter(ids=named, error=error, topic=topic, event=event, since=since, until=until, states=meant)


def must_name_something(chosen: Filter, group: str | None, everything: bool) -> None:
    """Refuse a command that says of no letter that it is meant."""
    if not (chosen.names_something or group or everything):
        words = "say which letters: their ids, or --group, --error, --topic, --event, --since, --until, or --all"
        raise typer.BadParameter(words, param_hint="ID")


def as_typed(verb: str, chosen: Filter, group: str | None, everything: bool, **options: Any) -> str:
    """What was asked for, as the audit keeps it."""
    named = {
        "group": group, "error": chosen.error, "topic": chosen.topic, "event": chosen.event,
        "since": chosen.since and chosen.since.isoformat(timespec="seconds"),
        "until": chosen.until and chosen.until.isoformat(timespec="seconds"),
        "all": everything, **options,
    }  # fmt: skip
    said = [f"--{name}" if value is True else f"--{name} {value}" for name, value in named.items() if value]
    many = len(chosen.ids) > 6
    ids = [str(one) for one in list(chosen.ids)[:6]] + ([f"… {len(chosen.ids)} ids"] if many else [])
    return " ".join([verb, *ids, *said])
