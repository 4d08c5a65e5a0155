"""What `wishlist dlq` works at: the table and the topic, or the one of them that can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import asyncpg

from clients.faults import Unavailable
from config.settings import KafkaSettings, PostgresSettings
from ops.dead_letters import reading
from ops.dead_letters.letters import Letter, LetterId
from ops.dead_letters.reading import Content, DlqTopic
from ops.dead_letters.rows import TABLES, ParkedRow, RowId, parked
from sinks.dead_letters import StoredLetter, keep

T = TypeVar("T")


class BadInput(ValueError):
    """What the operator said cannot be meant; *option* names where."""

    def __init__(self, option: str, words: str) -> None:
        super().__init__(words)
        self.option = option


class OutOfReach(ConnectionError):
    """What the command needs does not answer."""


@dataclass
class Desk:
    """*connection* and *topic* are None where PostgreSQL or Kafka is away; *notices* say what that means."""

    kafka: KafkaSettings
    group_suffix: str
    connection: asyncpg.Connection | None
    topic: DlqTopic | None
    notices: list[str] = field(default_factory=list)

    async def letters(self) -> list[Letter]:
        """Every letter there is, oldest failure first."""
        table = [] if self.connection is None else await reading.from_table(self.connection)
        return reading.merged(table, await self._tail(reading.letter_of))

    async def named(self, ids: Collection[LetterId]) -> list[Letter]:
        """The letters *ids*; raises :class:`BadInput` for one that there is not."""
        wanted = set(ids)
        letters = [letter for letter in await self.letters() if letter.id in wanted]
        if unknown := sorted(wanted - {letter.id for letter in letters}):
            words = f"there is no dead letter {', '.join(map(str, unknown))}; see wishlist dlq list --letters"
            raise BadInput("ID", words)
        return letters

    async def rows(self, ids: Collection[RowId] | None = None) -> list[ParkedRow]:
        """Every parked row, or those of *ids*; raises :class:`BadInput` for one that is not parked."""
        found = [] if self.connection is None else await parked(self.connection, ids)
        if unknown := sorted(set(ids or ()) - {row.id for row in found}):
            raise BadInput("ID", f"no row is parked under {', '.join(map(str, unknown))}; see wishlist dlq list")
        return found

    async def groups(self) -> set[str]:
        """Every group that reads, or has letters."""
        found = {letter.group for letter in await self.letters()}
        return found if self.connection is None else found | (await reading.readers(self.connection)).keys()

    async def content(self, letter: Letter) -> Content:
        """What *letter* holds."""
        if letter.in_table and self.connection is not None:
            return (await reading.contents(self.connection, [letter.id]))[letter.id]
        [row] = await self._tail(lambda row: row if reading.id_of(row) == letter.id else None)
        return Content(row.key, row.value, row.traceback)

    async def keep(self, letters: Iterable[Letter]) -> None:
        """Have those of *letters* in the table that only the topic has, as their group would."""
        missing = {letter.id for letter in letters if not letter.in_table}
        if missing and self.connection is not None:
            await keep(self.connection, await self._tail(lambda row: row if reading.id_of(row) in missing else None))

    async def _tail(self, make: Callable[[StoredLetter], T | None]) -> list[T]:
        """What *make* makes of each letter that the topic has and the table has not."""
        if self.topic is None:
            return []
        starts = {}
        if self.connection is not None:
            starts = await reading.kept_until(self.connection, self.kafka, self.group_suffix)
        records = self.topic.records
        return await asyncio.to_thread(lambda: [made for row in records(starts) if (made := make(row)) is not None])


def group_named(name: str, known: Collection[str]) -> str:
    """The one group or outbox whose name is *name*, or has it as a part; raises :class:`BadInput` listing all names.

    A part of a group's name means the group, whatever outbox has it too.
    """
    if name in known or name in TABLES:
        return name
    found = sorted(group for group in known if name in group) or sorted(one for one in TABLES if name in one)
    if len(found) == 1:
        return found[0]
    why = f"{name!r} is part of several groups" if found else f"there is no group or outbox {name!r}"
    raise BadInput("--group", f"{why}; known are {', '.join(found or [*sorted(known), *TABLES])}")


@asynccontextmanager
async def open_desk(
    kafka: KafkaSettings,
    postgres: PostgresSettings,
    group_suffix: str,
    *,
    needs_postgres: bool = False,
    needs_kafka: bool = False,
) -> AsyncIterator[Desk]:
    """A desk with both where they can be reached.

    Raises :class:`OutOfReach` where what is needed is away, or both are.
    """
    notices = []
    connection = topic = None
    try:
        connection = await asyncpg.connect(postgres.dsn, timeout=5, command_timeout=postgres.command_timeout_seconds)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        if needs_postgres:
            raise OutOfReach(
                f"PostgreSQL cannot be reached: {error}. Check POSTGRES_DSN; ./run up starts one."
            ) from None
        notices.append(f"PostgreSQL cannot be reached ({error}): only the topic's 7 days, and not what became of them")
    topic = DlqTopic(kafka)
    try:
        try:
            await asyncio.to_thread(topic.bounds)
        except Unavailable as error:
            if needs_kafka or connection is None:
                also = "" if connection else " Nor can PostgreSQL."
                raise OutOfReach(
                    f"Kafka cannot be reached: {error}. Check KAFKA_BOOTSTRAP_SERVERS and KAFKA_DLQ_TOPIC.{also}"
                ) from None
            notices.append(f"Kafka cannot be reached ({error}): only what the table has")
            yield Desk(kafka, group_suffix, connection, None, notices)
        else:
            yield Desk(kafka, group_suffix, connection, topic, notices)
    finally:
        topic.close()
        if connection is not None:
            await connection.close()
