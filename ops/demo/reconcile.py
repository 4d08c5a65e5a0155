"""Reads the whole topic and works out, without the sinks' code, what PostgreSQL must hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import uuid4

import asyncpg
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from config.settings import KafkaSettings
from schemas.codec import Codec, MalformedEvent, Origin, load_schemas
from schemas.event import EventType, ShareEvent
from streams.redriven import ONLY_GROUP

_SHOWN = 5


@dataclass
class Tally:
    """One share as its events tell it; sets, since the same event may lie in the topic twice."""

    human: set[object] = field(default_factory=set)
    raw: set[object] = field(default_factory=set)
    visitors: set[object] = field(default_factory=set)
    copied: set[object] = field(default_factory=set)
    revoked: bool = False

    def row(self) -> tuple[int, int, int, int, bool]:
        """As PostgreSQL has it: views, raw views, unique viewers, items added, revoked."""
        return len(self.human), len(self.raw), len(self.visitors), len(self.copied), self.revoked


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": f"reconcile-{uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )


def log_ends(kafka: KafkaSettings, topic: str | None = None) -> dict[int, int]:
    """The next offset of each partition of *topic*, the events' by default."""
    topic = topic or kafka.events_topic
    consumer = _consumer(kafka)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def read_topic(kafka: KafkaSettings) -> Iterator[ShareEvent | None]:
    """Every record of the topic: its event, or None where it is none. What was redriven lies there a second time."""
    ends = {number: end for number, end in log_ends(kafka).items() if end}
    codec, consumer = Codec(load_schemas()), _consumer(kafka)
    consumer.assign([TopicPartition(kafka.events_topic, number, 0) for number in ends])
    reached = dict.fromkeys(ends, 0)
    while any(reached[number] < end for number, end in ends.items()):
        record: Any  # confluent-kafka's types allow None where a record without an error has none
        for record in consumer.consume(5_000, 1.0):
            if record.error() is not None:
                continue
            number, offset = record.partition(), record.offset()
            reached[number] = offset + 1
            if any(name == ONLY_GROUP for name, _ in record.headers() or ()):
                continue
            try:
                yield codec.decode(record.value(), Origin(record.topic(), number, offset, record.timestamp()[1]))
            except MalformedEvent:
                yield None
    consumer.close()


async def compare(connection: asyncpg.Connection, kafka: KafkaSettings, console: Console) -> list[str]:
    """What differs between topic and table, a sentence each; prints the sums."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    records = malformed = 0
    with console.status("reading the topic from its beginning"):
        for event in read_topic(kafka):
            records += 1
            if event is None:
                malformed += 1
            elif event.event_type is not EventType.UNKNOWN:
                _count(tallies[event.share_token], event)
    rows = await connection.fetch(
        """SELECT share_token, view_count, raw_view_count, unique_viewers, items_added, is_revoked
           FROM wishlist_shares"""
    )
    table = {row["share_token"]: tuple(row)[1:] for row in rows}
    console.print(f"{records:,} records in the topic, {malformed} of them no event; {len(tallies):,} shares")
    names = ("views", "raw views", "unique viewers", "items added", "revoked")
    for number, name in enumerate(names):
        said = sum(tally.row()[number] for tally in tallies.values())
        held = sum(row[number] for row in table.values())
        console.print(
            f"  {name:<16} topic {said:>9,}   PostgreSQL {held:>9,}   {'[green]=[/]' if said == held else '[red]≠[/]'}"
        )
    differences = [
        f"share {token[:4]}…: the topic says {tally.row()}, PostgreSQL has {table.get(token)}"
        for token, tally in tallies.items()
        if table.get(token) != tally.row()
    ]
    differences += [f"share {token[:4]}… is in PostgreSQL only" for token in table.keys() - tallies.keys()]
    hidden = len(differences) - _SHOWN
    return differences[:_SHOWN] + ([f"and {hidden} more shares"] if hidden > 0 else [])


def _count(tally: Tally, event: ShareEvent) -> None:
    if event.event_type is EventType.VIEWED:
        tally.raw.add(event.event_id)
        if not event.is_bot:
            tally.human.add(event.event_id)
            if event.visitor_hash:
                tally.visitors.add((event.timestamp.astimezone(UTC).date(), event.visitor_hash))
    elif event.event_type is EventType.ITEM_ADDED:
        tally.copied.add(event.wishlist_item_id or event.event_id)
    elif event.event_type is EventType.REVOKED:
        tally.revoked = True
