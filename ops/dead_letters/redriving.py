"""Sends dead letters back to the group that refused them, and tells what became of them.

A letter is marked after the broker has acknowledged it. Killed in between, it is still open and may be sent again: it
carries the same event id, and the group's ledger knows that one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clients import logs
from clients.faults import Unavailable
from clients.producer import SPEC_SETTINGS
from config.settings import KafkaSettings
from ops.dead_letters import audit, reading
from ops.dead_letters.letters import Letter, LetterId
from ops.dead_letters.reading import Content, DlqTopic
from schemas.codec import Origin
from streams.dlq import LARGEST_DEAD_LETTER
from streams.redriven import headers_for

# As many are sent twice at most where the command is killed.
_AT_ONCE = 100
_ACK_SECONDS = 30.0
_LOOK_SECONDS = 0.3

Place = tuple[int, int]
Advance = Callable[[int], None]


@dataclass
class Sent:
    """Letters that lie in their topics again, and those that the broker would not take, with its words."""

    places: dict[LetterId, Place] = field(default_factory=dict)
    refused: dict[LetterId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of letters that were sent back; ``returned`` says under which id each came back."""

    applied: Sequence[LetterId]
    returned: Mapping[LetterId, LetterId]
    unread: Sequence[LetterId]


class Redriver:
    """Sends letters and waits for the broker's word, *per_second* at most."""

    def __init__(self, kafka: KafkaSettings, per_second: float) -> None:
        self._per_second = per_second
        # As in streams/dlq.py: what the broker once took, librdkafka's own limit must not refuse.
        self._producer = Producer(
            {
                **SPEC_SETTINGS,
                "bootstrap.servers": kafka.bootstrap_servers,
                "message.max.bytes": LARGEST_DEAD_LETTER,
            },
            logger=logs.librdkafka,
        )

    async def send(
        self, connection: asyncpg.Connection, act: UUID, letters: Sequence[Letter], advance: Advance
    ) -> Sent:
        """Send *letters*, which the table has, and mark each that the broker took.

        Raises :class:`clients.faults.Unavailable` where Kafka does not acknowledge; what it took until then is marked.
        """
        sent = Sent()
        began = time.monotonic()
        for chunk in self._chunks(letters):
            held = await reading.contents(connection, [letter.id for letter in chunk])
            done, away = await asyncio.to_thread(self._send, chunk, held)
            if done.places:
                await audit.mark_redriven(connection, act, done.places)
            sent.places |= done.places
            sent.refused |= done.refused
            advance(len(done.places) + len(done.refused))
            if away is not None:
                raise Unavailable(
                    "Kafka", f"{away}; {len(sent.places)} of {len(letters)} letters were sent and are marked"
                )
            due = began + (len(sent.places) + len(sent.refused)) / self._per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        return sent

    def _chunks(self, letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
        """Half a second's letters at a time."""
        size = max(1, min(_AT_ONCE, int(self._per_second / 2)))
        for start in range(0, len(letters), size):
            yield letters[start : start + size]

    def _send(self, letters: Sequence[Letter], held: Mapping[LetterId, Content]) -> tuple[Sent, str | None]:
        sent, faults = Sent(), []

        def delivered(letter: LetterId) -> Callable[[KafkaError | None, Message], None]:
            def note(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None
                    assert offset is not None
                    sent.places[letter] = (partition, offset)
                elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    sent.refused[letter] = "the broker takes no record of this size: discard it"
                else:
                    faults.append(error.str())

            return note

        for letter in letters:
            if letter.id not in held:
                sent.refused[letter.id] = "was removed from the table meanwhile"
                continue
            origin = Origin(letter.topic, letter.partition, letter.offset, letter.timestamp_ms)
            said = headers_for(letter.group, str(letter.id), letter.sent_before + 1, origin)
            self._producer.produce(
                letter.topic,
                held[letter.id].value,
                held[letter.id].key,
                headers=[(name, value.encode()) for name, value in said.items()],
                on_delivery=delivered(letter.id),
            )
        try:
            left = self._producer.flush(_ACK_SECONDS)
        except KafkaException as error:
            return sent, str(error)
        return sent, faults[0] if faults else "no acknowledgement in time" if left else None


async def outcome(
    connection: asyncpg.Connection,
    topic: DlqTopic,
    sent: Sequence[tuple[Letter, Place]],
    since: Mapping[int, int],
    within: float,
) -> Outcome:
    """What the groups made of the letters *sent*: waits until all are read, *within* seconds at most.

    *since* are the DLQ's ends before the sending. A group writes to the DLQ before its watermark moves, so that what it
    has gone past without a new letter is applied.
    """
    deadline = time.monotonic() + within
    while True:
        unread = await _unread(connection, sent)
        if not unread or time.monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    ours = {str(letter.id): letter.id for letter, _ in sent}

    def came_back() -> dict[LetterId, LetterId]:
        return {ours[row.redrive_of]: reading.id_of(row) for row in topic.records(since) if row.redrive_of in ours}

    returned = await asyncio.to_thread(came_back)
    unread -= returned.keys()
    applied = [letter.id for letter, _ in sent if letter.id not in returned and letter.id not in unread]
    return Outcome(applied, returned, sorted(unread))


async def _unread(connection: asyncpg.Connection, sent: Sequence[tuple[Letter, Place]]) -> set[LetterId]:
    rows = await connection.fetch("SELECT consumer_group, topic, partition, next_offset FROM watermarks")
    marks = {(row["consumer_group"], row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return {
        letter.id
        for letter, (partition, offset) in sent
        if marks.get((letter.group, letter.topic, partition), 0) <= offset
    }
