"""The archive's files: how they are named and listed, and how their events are read again.

The manifest is the table ``archive_files``; its order is the order of writing, in which each partition's offsets grow.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from asyncpg import Record

from clients.objects import ObjectStore
from clients.postgres import Database
from schemas import archive
from schemas.archive import ArchivedEvent, DamagedFile

CONTENT_TYPE = "application/avro"
# Of the content's hash, and of a random number: what is swept under one key is never put under it again.
_HASH_IN_KEY, _NONCE_IN_KEY = 16, 8
_AT_ONCE = 500

_FILES = """
    SELECT * FROM archive_files
    WHERE consumer_group = $1 AND id > $2
      AND ($3::timestamptz IS NULL OR last_at >= $3) AND ($4::timestamptz IS NULL OR first_at < $4)
    ORDER BY id LIMIT $5"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the manifest says of a file; ``first_at`` and ``last_at`` are Kafka's times, the other two the events'."""

    key: str
    sha256: str
    bytes: int
    events: int
    topic: str
    topic_id: UUID
    day: date
    partitions: list[int]
    first_offsets: list[int]
    last_offsets: list[int]
    first_at: datetime
    last_at: datetime
    first_event_at: datetime
    last_event_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile(Described):
    """A file with its place in the manifest; ``erased`` events have been taken out of it."""

    id: int
    erased: int

    @classmethod
    def of(cls, row: Record) -> ListedFile:
        """The file of a row of ``archive_files``."""
        values: dict[str, Any] = dict(row)
        del values["consumer_group"], values["written_at"]
        return cls(**values)


def describe(events: Sequence[ArchivedEvent], body: bytes, prefix: str) -> Described:
    """The description of *body*, which holds *events*: by partition and offset, of one topic and one day."""
    offsets: dict[int, list[int]] = defaultdict(list)
    for event in events:
        offsets[event.origin.partition].append(event.origin.offset)
    first, last = events[0].origin, events[-1].origin
    day = events[0].at.date()
    digest = sha256(body).hexdigest()
    name = f"{first.partition:03}-{first.offset:012}.{last.partition:03}-{last.offset:012}"
    return Described(
        key=f"{prefix}{first.topic}/{day:%Y/%m/%d}/{name}.{_ending(digest)}",
        sha256=digest,
        bytes=len(body),
        events=len(events),
        topic=first.topic,
        topic_id=events[0].topic_id,
        day=day,
        partitions=list(offsets),
        first_offsets=[places[0] for places in offsets.values()],
        last_offsets=[places[-1] for places in offsets.values()],
        first_at=min(event.at for event in events),
        last_at=max(event.at for event in events),
        first_event_at=min(event.event.timestamp for event in events),
        last_event_at=max(event.event.timestamp for event in events),
    )


def key_with(key: str, digest: str) -> str:
    """The key of the file that takes the place of the one under *key*."""
    name, _, _ = key.removesuffix(".avro").rpartition(".")
    return f"{name}.{_ending(digest)}"


def _ending(digest: str) -> str:
    return f"{digest[:_HASH_IN_KEY]}-{uuid4().hex[:_NONCE_IN_KEY]}.avro"


class ArchiveReader:
    """Reads what *group* has archived. Raises :class:`clients.faults.Unavailable` and PostgreSQL's errors."""

    def __init__(self, database: Database, store: ObjectStore, group: str) -> None:
        self._database = database
        self._store = store
        self._group = group

    async def files(self, since: datetime | None = None, until: datetime | None = None) -> AsyncIterator[ListedFile]:
        """The files that may hold records of *since* (included) to *until* (not), by Kafka's time, in their order."""
        pool = await self._database.pool()
        after = 0
        while rows := await pool.fetch(_FILES, self._group, after, since, until, _AT_ONCE):
            for row in rows:
                yield ListedFile.of(row)
            after = rows[-1]["id"]

    async def events(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncIterator[ArchivedEvent]:
        """The events of that time, each partition's in the order of its offsets.

        Raises :class:`schemas.archive.DamagedFile` for a file that is not as the manifest has it.
        """
        async for file in self.files(since, until):
            for event in await self.events_of(file):
                if (since is None or event.at >= since) and (until is None or event.at < until):
                    yield event

    async def events_of(self, file: ListedFile) -> list[ArchivedEvent]:
        """All events of *file*; raises as :meth:`events` does."""
        body = await self.body_of(file)
        return await asyncio.to_thread(lambda: list(archive.read(body)))

    async def body_of(self, file: ListedFile) -> bytes:
        """The bytes of *file*, checked; of the one in its place, where an erasure has been quicker."""
        body = await self._store.get(file.key)
        if body is not None and sha256(body).hexdigest() == file.sha256:
            return body
        row = await (await self._database.pool()).fetchrow("SELECT * FROM archive_files WHERE id = $1", file.id)
        if row is not None and row["key"] != file.key:
            return await self.body_of(ListedFile.of(row))
        what = "is not in the bucket" if body is None else "has other bytes than were written"
        raise DamagedFile(f"{file.key} {what}: restore it, or replay what it covers from the topic")
