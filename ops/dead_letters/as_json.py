"""Dead letters as JSON, for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ops.dead_letters.audit import Act
from ops.dead_letters.letters import Heap, Letter, age_of
from ops.dead_letters.redriving import Outcome
from ops.dead_letters.reveal import Revealed
from ops.dead_letters.rows import ParkedRow, RowContent


def failure_of(failure: Letter | ParkedRow, now: datetime) -> dict[str, Any]:
    """A letter or a row for scripts; the error's message is masked."""
    return letter_of(failure, now) if isinstance(failure, Letter) else row_of(failure, now)


def row_of(row: ParkedRow, now: datetime) -> dict[str, Any]:
    """A parked row for scripts; the reason is masked."""
    return {**_common(row, now), "outbox": row.id.outbox, "row": row.id.row, "parked_at": row.last_failure.isoformat()}


def _common(failure: Letter | ParkedRow, now: datetime) -> dict[str, Any]:
    return {
        "id": str(failure.id),
        "kind": "letter" if isinstance(failure, Letter) else "row",
        "state": str(failure.state),
        "group": failure.group,
        "error_class": failure.error_class,
        "error_message": failure.message,
        "age": age_of(failure, now),
        "attempts": failure.attempts,
    }


def letter_of(letter: Letter, now: datetime) -> dict[str, Any]:
    """A letter for scripts; the error's message is masked."""
    return {
        **_common(letter, now),
        "event_id": None if letter.event_id is None else str(letter.event_id),
        "original": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "timestamp": letter.timestamp.isoformat(),
        },
        "first_failure": letter.first_failure.isoformat(),
        "last_failure": letter.last_failure.isoformat(),
        "redrive_count": letter.sent_before,
        "redrive_of": letter.redrive_of,
        "returned_as": None if letter.returned_as is None else str(letter.returned_as),
        "kept_bytes": letter.kept_bytes,
        "value_bytes": letter.value_bytes or letter.kept_bytes,
        "in_table": letter.in_table,
    }


def heap_of(heap: Heap) -> dict[str, Any]:
    """One line of the overview for scripts."""
    return {
        "kind": "letter" if isinstance(heap.newest, Letter) else "row",
        "group": heap.group,
        "error_class": heap.error_class,
        "error_message": heap.newest.message,
        "age": heap.age,
        "letters": heap.count,
        "newest": str(heap.newest.id),
        "last_failure": heap.newest.last_failure.isoformat(),
    }


def act_of(act: Act) -> dict[str, Any]:
    """An act for scripts."""
    return {
        "id": str(act.id),
        "act": act.act,
        "actor": act.actor,
        "asked_for": act.asked_for,
        "reason": act.reason,
        "letters": act.letters,
        "done": act.done,
        "begun_at": act.begun_at.isoformat(),
        "ended_at": None if act.ended_at is None else act.ended_at.isoformat(),
    }


def whole_of(letter: Letter, held: Revealed, history: Sequence[Act], now: datetime) -> dict[str, Any]:
    """Everything about one letter for scripts; ``value`` is base64, and there only where it was unmasked."""
    return {
        **letter_of(letter, now),
        "error_message": held.message,
        "key": held.key,
        "event": held.fields if held.why_not is None else None,
        "json": held.fields if held.why_not is not None else None,
        "unreadable": held.why_not,
        "traceback": held.traceback,
        "value": held.value,
        "acts": [act_of(act) for act in history],
    }


def whole_row_of(row: ParkedRow, held: RowContent, history: Sequence[Act], now: datetime) -> dict[str, Any]:
    """Everything about one parked row for scripts."""
    return {
        **row_of(row, now),
        "error_message": held.message,
        "columns": held.fields,
        "traceback": held.traceback,
        "acts": [act_of(act) for act in history],
    }


def refusals_of(refused: Mapping[Letter | ParkedRow, str]) -> list[dict[str, str]]:
    """Which letters and rows were left, and why."""
    return [{"id": str(letter.id), "why": why} for letter, why in refused.items()]


def outcome_of(result: Outcome) -> dict[str, Any]:
    """What became of what was sent."""
    return {
        "applied": [str(one) for one in result.applied],
        "returned": {str(old): str(new) for old, new in result.returned.items()},
        "unread": [str(one) for one in result.unread],
    }
