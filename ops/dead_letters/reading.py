"""Reads dead letters: from the table, and from the topic what the table does not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import asyncpg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from clients import logs
from clients.faults import Unavailable
from config.settings import KafkaSettings
from ops.dead_letters.letters import Letter, LetterId, State
from sinks.contract import DeadLetter
from sinks.dead_letters import GROUP, StoredLetter, stored

_SILENCE_SECONDS = 10.0
_COLUMNS = [name for name in StoredLetter._fields if name not in ("key", "value", "traceback")]
_ROWS = f"""
    SELECT {", ".join(f"d.{name}" for name in _COLUMNS)}, d.state, d.sent_times,
           coalesce(octet_length(d.value), 0) AS kept_bytes,
           coalesce(w.next_offset > d.sent_offset, false) AS is_passed,
           (SELECT ARRAY[r.dlq_partition, r.dlq_offset] FROM dead_letters r
            WHERE r.redrive_of = d.dlq_partition || '-' || d.dlq_offset
            ORDER BY r.last_failure DESC LIMIT 1) AS returned_as
    FROM dead_letters d
    LEFT JOIN watermarks w ON (w.consumer_group, w.topic, w.partition)
                            = (d.consumer_group, d.original_topic, d.sent_partition)"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a letter holds, secrets included."""

    key: bytes | None
    value: bytes | None
    traceback: str


class DlqTopic:
    """The DLQ as it lies in Kafka."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = kafka.dlq_topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                # Required by the client, and never joined: partitions are assigned, nothing is committed.
                "group.id": "wishlist-dlq",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                # The end of a partition is told after so long: nobody waits for records here.
                "fetch.wait.max.ms": 10,
            },
            logger=logs.librdkafka,
        )

    def bounds(self) -> dict[int, tuple[int, int]]:
        """The first offset and the end of each partition; raises :class:`clients.faults.Unavailable`."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=5).topics[self._topic]
            if found.error is not None:
                raise Unavailable("Kafka", f"{self._topic}: {found.error.str()}")
            return {
                number: self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=5)
                for number in found.partitions
            }
        except KafkaException as error:
            raise Unavailable("Kafka", str(error.args[0].str())) from error

    def records(self, starts: Mapping[int, int]) -> Iterator[StoredLetter]:
        """What lies from *starts*, a partition's offsets, to the end; raises :class:`clients.faults.Unavailable`."""
        bounds = self.bounds()
        begin = {
            number: min(max(starts.get(number, low), low), high)
            for number, (low, high) in bounds.items()
            if starts.get(number, low) < high
        }
        if not begin:
            return
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in begin.items()])
        unread = set(begin)
        try:
            while unread:
                message = self._consumer.poll(_SILENCE_SECONDS)
                if message is None:
                    raise Unavailable("Kafka", f"{self._topic}: nothing for {_SILENCE_SECONDS:.0f} s")
                number, offset = message.partition(), message.offset()
                assert number is not None
                error = message.error()
                if error is None:
                    assert offset is not None
                    said = cast(list[tuple[str, bytes | None]], message.headers() or [])
                    headers = {name: value.decode("utf-8", "replace") for name, value in said if value is not None}
                    yield stored(DeadLetter(number, offset, message.key(), message.value(), headers))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(number)
                else:
                    raise Unavailable("Kafka", error.str())
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


async def from_table(connection: asyncpg.Connection) -> list[Letter]:
    """The table's letters."""
    return [_letter(row) for row in await connection.fetch(_ROWS)]


async def kept_until(connection: asyncpg.Connection, kafka: KafkaSettings, group_suffix: str) -> dict[int, int]:
    """The first offset of each partition of the DLQ that the table does not have yet."""
    rows = await connection.fetch(
        "SELECT partition, next_offset FROM watermarks WHERE (consumer_group, topic) = ($1, $2)",
        GROUP + group_suffix,
        kafka.dlq_topic,
    )
    return {row["partition"]: row["next_offset"] for row in rows}


def merged(table: Sequence[Letter], topic: Sequence[Letter]) -> list[Letter]:
    """Both, oldest failure first, each letter once as the table has it.

    One whose newer letter only the topic has, has come back too.
    """
    returned = {letter.redrive_of: letter.id for letter in topic if letter.redrive_of is not None}
    known = {letter.id for letter in table}
    every = [
        replace(letter, state=State.RETURNED, returned_as=returned[str(letter.id)])
        if str(letter.id) in returned and letter.state in (State.REDRIVEN, State.APPLIED)
        else letter
        for letter in [*table, *(letter for letter in topic if letter.id not in known)]
    ]
    return sorted(every, key=lambda letter: (letter.last_failure, letter.id))


async def contents(connection: asyncpg.Connection, ids: Sequence[LetterId]) -> dict[LetterId, Content]:
    """What the table's letters *ids* hold."""
    rows = await connection.fetch(
        """SELECT dlq_partition, dlq_offset, key, value, traceback FROM dead_letters
           JOIN unnest($1::int[], $2::bigint[]) AS of(p, o) ON (dlq_partition, dlq_offset) = (p, o)""",
        [one.partition for one in ids],
        [one.offset for one in ids],
    )
    return {
        LetterId(row["dlq_partition"], row["dlq_offset"]): Content(row["key"], row["value"], row["traceback"] or "")
        for row in rows
    }


async def readers(connection: asyncpg.Connection) -> dict[str, set[str]]:
    """The topics that each group reads, by its watermarks."""
    found: dict[str, set[str]] = {}
    for row in await connection.fetch("SELECT DISTINCT consumer_group, topic FROM watermarks"):
        found.setdefault(row["consumer_group"], set()).add(row["topic"])
    return found


def id_of(row: StoredLetter) -> LetterId:
    """Its place in the DLQ."""
    return LetterId(row.dlq_partition, row.dlq_offset)


def letter_of(row: StoredLetter) -> Letter:
    """The letter as the topic has it: nobody has dealt with it."""
    return Letter(
        id=id_of(row),
        group=row.consumer_group,
        event_id=row.event_id,
        topic=row.original_topic,
        partition=row.original_partition,
        offset=row.original_offset,
        timestamp=row.original_timestamp,
        error_class=row.error_class,
        error_message=row.error_message,
        attempts=row.attempts,
        first_failure=row.first_failure,
        last_failure=row.last_failure,
        redrive_count=row.redrive_count,
        redrive_of=row.redrive_of,
        kept_bytes=len(row.value or b""),
        value_bytes=row.value_bytes,
        in_table=False,
    )


def _letter(row: asyncpg.Record) -> Letter:
    as_stored = StoredLetter(**{name: row[name] for name in _COLUMNS}, key=None, value=None, traceback="")
    state = State(row["state"])
    returned_as = LetterId(*row["returned_as"]) if row["returned_as"] else None
    if state is State.REDRIVEN and returned_as is not None:
        state = State.RETURNED
    elif state is State.REDRIVEN and row["is_passed"]:
        state = State.APPLIED
    return replace(
        letter_of(as_stored),
        kept_bytes=row["kept_bytes"],
        state=state,
        sent_times=row["sent_times"],
        returned_as=returned_as,
        in_table=True,
    )
