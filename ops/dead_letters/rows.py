"""Parked rows of outboxes, beside dead letters: what each is, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from ops.dead_letters.letters import State
from ops.dead_letters.masking import mask_fields, mask_text, mask_traceback, secrets_in
from streams.outboxes import ALL

TABLES = {table.name: table for table in ALL}
# Columns that say nothing of a person and open nothing.
_HARMLESS = frozenset(
    {
        "id", "share_id", "wishlist_id", "owner_id", "push_id", "device_id", "webhook_id", "event_id", "product_id",
        "state", "fallback", "due_at", "attempts", "failures", "parked_at", "happened_at", "created_at", "ended_at",
        "local_date", "last_day", "items", "event_type", "rendered_at", "swept_at", "purged_at", "is_pending", "job",
        "row_id", "content_hash",
    }
)  # fmt: skip
_LEFT_OUT = frozenset({"reason", "traceback", "lease_owner", "lease_until"})


class RowId(NamedTuple):
    """A row of an outbox, written ``digests/0192…``."""

    outbox: str
    row: str

    def __str__(self) -> str:
        return f"{self.outbox}/{self.row}"

    @classmethod
    def parse(cls, text: str) -> RowId:
        """The inverse of ``str``; raises :class:`ValueError` naming the outboxes that there are."""
        outbox, slash, row = text.partition("/")
        if not slash or not row or outbox not in TABLES:
            raise ValueError(f"{text!r} is no row's id: OUTBOX/ROW, with OUTBOX one of {', '.join(TABLES)}")
        return cls(outbox, row)


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A parked row without its content; it is summed up, chosen and shown as a letter of the group of its outbox."""

    id: RowId
    attempts: int
    error_message: str
    last_failure: datetime
    group: str = ""
    topic: str = ""
    event_id: UUID | None = None
    state: State = State.OPEN
    sent_before: int = 0
    returned_as: None = None

    @property
    def error_class(self) -> str:
        """The exception's name, or ``Refused`` where the other side said no."""
        found = re.match(r"([A-Za-z_]\w*(?:Error|Exception|Group|Violation|Warning)|[A-Z]\w+): ", self.error_message)
        return found[1] if found else "Refused"

    @property
    def message(self) -> str:
        """The reason in one line: without a database's DETAIL, and what may be personal masked."""
        said = self.error_message.removeprefix(f"{self.error_class}: ").partition("\nDETAIL:")[0]
        return " ".join(mask_text(said).split())


async def parked(connection: asyncpg.Connection, ids: Collection[RowId] | None = None) -> list[ParkedRow]:
    """Every parked row, or those of *ids* that are parked; the one parked first comes first."""
    found = []
    for table in ALL:
        wanted = None if ids is None else [one.row for one in ids if one.outbox == table.name]
        if wanted == []:
            continue
        p = table.prefix
        rows = await connection.fetch(
            f"""SELECT {table.key}::text AS row, {p}failures AS failures, coalesce({p}reason, '') AS reason,
                       coalesce({p}parked_at, now()) AS parked_at
                FROM {table.table} WHERE {table.is_parked} AND ($1::text[] IS NULL OR {table.key}::text = ANY($1))""",
            wanted,
        )
        found += [
            ParkedRow(RowId(table.name, row["row"]), row["failures"], row["reason"], row["parked_at"], group=table.name)
            for row in rows
        ]
    return sorted(found, key=lambda row: (row.last_failure, row.id))


@dataclass(frozen=True, slots=True)
class RowContent:
    """What a row holds, masked or not."""

    fields: Any
    message: str
    traceback: str


async def content(connection: asyncpg.Connection, row: ParkedRow, *, unmask: bool) -> RowContent:
    """The columns of *row*, its reason and traceback."""
    table = TABLES[row.id.outbox]
    found = await connection.fetchrow(
        f"""SELECT to_jsonb(t) AS fields, {table.prefix}traceback AS traceback FROM {table.table} t
            WHERE {table.scope} AND {table.key}::text = $1""",
        row.id.row,
    )
    every = orjson.loads(found["fields"]) if found else {}
    fields = {
        name: orjson.loads(value) if name == "content" and isinstance(value, str) else value
        for name, value in every.items()
        if not name.endswith(tuple(_LEFT_OUT))
    }
    traceback = (found["traceback"] if found else None) or "none: the other side refused it"
    if unmask:
        return RowContent(fields, row.error_message, traceback)
    secrets = secrets_in({name: value for name, value in fields.items() if name not in _HARMLESS})
    return RowContent(
        mask_fields(fields, _HARMLESS),
        mask_text(row.error_message, secrets),
        mask_traceback(traceback, secrets),
    )
