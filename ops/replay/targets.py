"""The sinks that events can be replayed into, and what that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from clients.bigquery import Warehouse
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ArchiveSettings, KafkaSettings, ObjectStoreSettings, PushSettings, WarehouseSettings, load
from schemas.codec import Codec
from sinks import archive, bigquery, digest, previews, push, segment, share_store, webhook
from sinks.contract import Sink
from streams.decoding import placed_events, segment_messages, share_events
from streams.engine import Decode


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sink by its agent's name. *reaches_people*: what it writes leads to letters, pushes or pictures."""

    group: str
    make: Callable[[Database, str], Sink]
    batch_events: int | None = None
    decode: Callable[[Codec, str], Decode] = share_events
    reads_segment: bool = False
    reaches_people: bool = False

    def topics(self, kafka: KafkaSettings) -> tuple[str, ...]:
        """What the sink's agent reads."""
        return (kafka.segment_topic, kafka.events_topic) if self.reads_segment else (kafka.events_topic,)


def targets() -> dict[str, Target]:
    """Every target by its agent's name."""
    events_topic = load(KafkaSettings).events_topic
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
            decode=partial(segment_messages, events_topic=events_topic),
            reads_segment=True,
        ),
        "archive": Target(
            group=archive.GROUP,
            make=lambda database, group: archive.EventArchive(
                database, group, ObjectStore(load(ObjectStoreSettings)), load(ArchiveSettings).prefix
            ),
            decode=placed_events,
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
