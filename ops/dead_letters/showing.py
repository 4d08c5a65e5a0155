"""How dead letters look in a terminal. What must be masked is masked before it comes here.

What clients and databases say may hold control characters, which a terminal would obey: they are shown, not sent.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ops.dead_letters.audit import Act
from ops.dead_letters.letters import Failure, Heap, Letter, State, heaps
from ops.dead_letters.masking import MASK
from ops.dead_letters.redriving import Outcome
from ops.dead_letters.reveal import Revealed, dump
from ops.dead_letters.rows import ParkedRow, RowContent

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = {
    State.OPEN: "red",
    State.REDRIVEN: "yellow",
    State.APPLIED: "green",
    State.RETURNED: "red",
    State.DISCARDED: "dim",
}


def since(then: datetime, now: datetime) -> str:
    """How long ago *then* is: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    seconds = max(0, int((now - then) / timedelta(seconds=1)))
    for size, name, below in ((1, "s", 90), (60, "min", 90 * 60), (3_600, "h", 48 * 3_600)):
        if seconds < below:
            return f"{seconds // size} {name}"
    return f"{seconds // 86_400} days"


def moment(when: datetime) -> str:
    """A time as it is written here, UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def numbered(count: int, one: str = "letter") -> str:
    """``1 letter``, ``2 letters``."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """*text* with its control characters written out, line ends and tabs aside."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def numbered_of(failures: Sequence[Letter | ParkedRow]) -> str:
    """``2 letters and 1 row``."""
    letters = sum(isinstance(one, Letter) for one in failures)
    counts = ((letters, "letter"), (len(failures) - letters, "row"))
    return " and ".join(numbered(count, one) for count, one in counts if count) or "nothing"


def _clean(failure: Letter | ParkedRow) -> Letter | ParkedRow:
    if isinstance(failure, ParkedRow):
        return replace(failure, error_message=printable(failure.error_message))
    return _clean_letter(failure)


def _clean_letter(letter: Letter) -> Letter:
    return replace(
        letter,
        group=printable(letter.group),
        topic=printable(letter.topic),
        error_class=printable(letter.error_class),
        error_message=printable(letter.error_message),
        redrive_of=letter.redrive_of and printable(letter.redrive_of),
    )


# --- list -----------------------------------------------------------------------------------------------------------


def overview(letters: Sequence[Letter | ParkedRow], now: datetime) -> RenderableType:
    """*letters* by group or outbox, error and age: a table for each."""
    parts: list[RenderableType] = []
    by_group: dict[str, list[Heap]] = {}
    for heap in heaps(map(_clean, letters), now):
        by_group.setdefault(heap.group, []).append(heap)
    for group, of_group in by_group.items():
        table = Table(box=None, padding=(0, 2, 0, 0), expand=True, show_header=not parts, header_style="dim")
        table.add_column("count", justify="right", width=7)
        table.add_column("last failed", width=13)
        table.add_column("error", ratio=1, overflow="fold")
        table.add_column("newest", max_width=60, overflow="fold", justify="right")
        for heap in of_group:
            table.add_row(f"{heap.count:,}", heap.age, error_of(heap.newest), str(heap.newest.id))
        total, one = sum(heap.count for heap in of_group), "row" if isinstance(heap.newest, ParkedRow) else "letter"
        parts += [Text.assemble((group, "bold"), f"  {numbered(total, one)}"), table, Text()]
    return Group(*parts)


def each(letters: Sequence[Letter | ParkedRow], now: datetime) -> RenderableType:
    """*letters* one by one."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("failed", no_wrap=True, justify="right")
    table.add_column("sent", no_wrap=True, justify="right")
    table.add_column("group and error", ratio=1, overflow="fold")
    for letter in map(_clean, letters):
        words = Text.assemble((letter.group, "bold"), "\n", error_of(letter))
        table.add_row(
            str(letter.id), state_of(letter), since(letter.last_failure, now), f"{letter.sent_before}×", words
        )
    return table


def error_of(letter: Failure, most: int = 160) -> Text:
    """Class and message of a letter's error, shortened."""
    message = letter.message
    shown = message if len(message) <= most else f"{message[: most - 1]}…"
    return Text.assemble((letter.error_class, "yellow"), f": {shown}")


def state_of(letter: Failure) -> Text:
    """The letter's state in its colour, with the id under which it came back."""
    text = Text(str(letter.state), _COLOURS[letter.state])
    return text.append(f" as {letter.returned_as}") if letter.state is State.RETURNED else text


def states(letters: Iterable[Failure]) -> str:
    """How many there are of each state."""
    counts = Counter(letter.state for letter in letters)
    return ", ".join(f"{counts[state]:,} {state}" for state in State if counts[state])


# --- show -----------------------------------------------------------------------------------------------------------


def whole(letter: Letter, held: Revealed, history: Sequence[Act], now: datetime) -> RenderableType:
    """Everything about one letter."""
    letter, facts = _clean_letter(letter), _pairs()
    tries = "1 try" if letter.attempts == 1 else f"{letter.attempts} tries"
    origin = f"{letter.topic}[{letter.partition}] at {letter.offset}, {moment(letter.timestamp)}"
    kept = "the table" if letter.in_table else "the topic only; the agent dead_letters is behind"
    rows: list[tuple[str, RenderableType]] = [
        ("group", letter.group),
        ("error", Text.assemble((letter.error_class, "yellow"), f": {printable(held.message)}")),
        ("failed", f"{moment(letter.last_failure)}, {since(letter.last_failure, now)} ago; {tries}, "
                   f"the first {moment(letter.first_failure)}"),
        ("first lay in", origin),
        ("event id", str(letter.event_id or "unknown: the bytes are no event")),
        ("sent back", f"{letter.sent_before}×" + (f", last as {letter.redrive_of}" if letter.redrive_of else "")),
        ("kept in", kept),
        ("key", _value(held.key)),
        ("value", held.bytes_said),
    ]  # fmt: skip
    for name, value in rows:
        facts.add_row(name, value)
    title = Text.assemble(("dead letter ", "bold"), (str(letter.id), "bold"), "  ", state_of(letter))
    parts: list[RenderableType] = [title, facts, Text()]
    if held.fields is not None:
        parts += [Text("event", "bold") if held.why_not is None else Text("JSON that is no event", "bold")]
        parts += [_fields(held.fields), Text()]
    elif held.value is not None:
        parts += [Text("value", "bold"), Padding(Text(dump(base64.b64decode(held.value)), "dim"), (0, 0, 1, 2))]
    if held.why_not is not None:
        parts += [Text.assemble(("read today: ", "bold"), printable(held.why_not)), Text()]
    parts += [Text("traceback", "bold"), Padding(Text(printable(held.traceback.strip()), "dim"), (0, 0, 1, 2))]
    if history:
        parts += [Text("what was done", "bold"), done(history)]
    return Group(*parts)


def whole_row(row: ParkedRow, held: RowContent, history: Sequence[Act], now: datetime) -> RenderableType:
    """Everything about one parked row."""
    facts = _pairs()
    failed = f"{moment(row.last_failure)}, {since(row.last_failure, now)} ago; {numbered(row.attempts, 'failure')}"
    facts.add_row("reason", printable(held.message))
    facts.add_row("parked", failed)
    parts: list[RenderableType] = [
        Text.assemble(("row ", "bold"), (str(row.id), "bold"), "  ", state_of(row)),
        facts,
        Text(),
        Text("columns", "bold"),
        _fields(held.fields),
        Text(),
        Text("traceback", "bold"),
        Padding(Text(printable(held.traceback.strip()), "dim"), (0, 0, 1, 2)),
    ]
    if history:
        parts += [Text("what was done", "bold"), done(history)]
    return Group(*parts)


def done(acts: Sequence[Act]) -> RenderableType:
    """Operators' acts, newest first."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("when", no_wrap=True)
    table.add_column("who", overflow="fold")
    table.add_column("what", no_wrap=True)
    table.add_column("count", no_wrap=True, justify="right")
    table.add_column("asked for", ratio=1, overflow="fold")
    for act in acts:
        words = Text(printable(act.asked_for))
        if act.reason is not None:
            words.append(f"\n{printable(act.reason)}", "italic")
        if act.ended_at is None:
            words.append("\ncut off, or at work", "red")
        count = f"{act.done:,}" if act.done == act.letters else f"{act.done:,} of {act.letters:,}"
        table.add_row(moment(act.begun_at), printable(act.actor), act.act, count, words)
    return table


def _pairs() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    return table


def _fields(value: Any) -> RenderableType:
    table = _pairs()
    entries = value.items() if isinstance(value, Mapping) else ((str(n), one) for n, one in enumerate(value))
    for name, one in entries:
        if one in (None, "", [], {}, ()):
            continue
        nested = isinstance(one, Mapping)
        table.add_row(f"  {printable(name)}", _fields(one) if nested else _value(one))
    return table


def _value(value: Any) -> Text:
    if value == MASK:
        return Text(MASK, "dim")
    if isinstance(value, list):
        return Text(printable(", ".join(str(one) for one in value)))
    return Text("none" if value is None else printable(str(value)))


# --- redrive, discard -----------------------------------------------------------------------------------------------


def plan(going: Sequence[Letter | ParkedRow], verb: str) -> RenderableType:
    """What would go where: letters by group and topic, rows by outbox."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column(verb, no_wrap=True)
    table.add_column("ids", ratio=1, overflow="fold")
    by_place: dict[tuple[str, str], list[Letter | ParkedRow]] = {}
    for letter in map(_clean, going):
        by_place.setdefault((letter.group, letter.topic), []).append(letter)
    for (group, topic), same in sorted(by_place.items()):
        ids = ", ".join(str(letter.id) for letter in same[:6]) + (", …" if len(same) > 6 else "")
        table.add_row(f"{len(same):,}", Text.assemble((group, "bold"), f"\nthrough {topic}" if topic else ""), ids)
    return table


def refusals(refused: Mapping[Letter | ParkedRow, str], most: int = 10) -> RenderableType:
    """Which letters and rows were left, and why."""
    table = _pairs()
    for letter, why in list(refused.items())[:most]:
        table.add_row(str(letter.id), printable(why))
    if len(refused) > most:
        table.add_row("…", f"and {len(refused) - most:,} more; --json names them all")
    return table


def outcome(result: Outcome) -> RenderableType:
    """What became of what was sent."""
    text = Text(f"{numbered(len(result.applied))} applied", "green")
    if result.returned:
        pairs = [f"{old} as {new}" for old, new in list(result.returned.items())[:6]]
        more = ", …" if len(result.returned) > 6 else ""
        text.append(f"\n{numbered(len(result.returned))} came back: {', '.join(pairs)}{more}", "red")
    if result.unread:
        count = numbered(len(result.unread))
        words = f"\n{count} not read yet: does the group run? wishlist dlq list --state redriven shows them"
        text.append(words, "yellow")
    return text
