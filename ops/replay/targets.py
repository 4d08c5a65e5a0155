"""The sinks that events can be replayed into, and what that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from clients.bigquery import Warehouse
from clients.postgres import Database
from config.settings import KafkaSettings, PushSettings, WarehouseSettings, load
from schemas.codec import Codec
from sinks import bigquery, digest, previews, push, segment, share_store, webhook
from sinks.contract import Sink
from streams.decoding import segment_messages, share_events
from streams.engine import Decode


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sink by its agent's name. *reaches_people*: what it writes leads to letters, pushes or pictures."""

    group: str
    make: Callable[[Database, str], Sink]
    batch_events: int | None = None
    reads_segment: bool = False
    reaches_people: bool = False

    def topics(self, kafka: KafkaSettings) -> tuple[str, ...]:
        """What the sink's agent reads."""
        return (kafka.segment_topic, kafka.events_topic) if self.reads_segment else (kafka.events_topic,)

    def decoder(self, codec: Codec, kafka: KafkaSettings) -> Callable[[str], Decode]:
        """Takes the group's name; what its agent decodes records by."""
        if self.reads_segment:
            return partial(segment_messages, codec, events_topic=kafka.events_topic)
        return partial(share_events, codec)


def targets() -> dict[str, Target]:
    """Every target by its agent's name."""
    warehouse = load(WarehouseSettings)
    return {
        "persist": Target(group=share_store.GROUP, make=share_store.ShareStore),
        "warehouse": Target(
            group=bigquery.GROUP,
            make=lambda database, group: bigquery.ShareEventTable(database, group, Warehouse(warehouse)),
            batch_events=warehouse.batch_events,
        ),
        "segment": Target(
            group=segment.GROUP,
            make=lambda database, group: segment.SegmentTable(database, group, Warehouse(warehouse)),
            batch_events=warehouse.batch_events,
            reads_segment=True,
        ),
        "preview": Target(group=previews.GROUP, make=previews.PreviewQueue, reaches_people=True),
        "digest": Target(group=digest.GROUP, make=digest.DigestCounts, reaches_people=True),
        "push": Target(
            group=push.GROUP,
            make=lambda database, group: push.PushQueue(database, group, load(PushSettings)),
            reaches_people=True,
        ),
        "webhook": Target(group=webhook.GROUP, make=webhook.WebhookQueue, reaches_people=True),
    }
