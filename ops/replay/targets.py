"""The sinks that events can be replayed into, and what that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from clients.bigquery import Warehouse
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ArchiveSettings, KafkaSettings, ObjectStoreSettings, PushSettings, WarehouseSettings, load
from ops.replay.rebuild import Shadow
from ops.replay.rebuild_store import ShareStoreShadow
from ops.replay.rebuild_table import TableShadow
from schemas.codec import Codec
from sinks import archive, bigquery, digest, previews, push, segment, share_store, webhook
from sinks.contract import Sink
from sinks.warehouse_table import WarehouseTable
from streams.decoding import placed_events, segment_messages, share_events
from streams.engine import Decode

# Why what leads to people is not built anew, and what to do instead.
_TOLD = (
    "what it writes is told to people, or is on its way to them: there is no store to build. "
    "wishlist replay {} --again --from MOMENT has what happened since then told once more."
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A sink by its agent's name. *reaches_people*: what it writes leads to letters, pushes or pictures.

    *shadow*: how its store is built anew, by the replay's name; without one *no_rebuild* says why it is not.
    """

    group: str
    make: Callable[[Database, str], Sink]
    shadow: Callable[[str], Shadow] | None = None
    no_rebuild: str = ""
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
        "persist": Target(group=share_store.GROUP, make=share_store.ShareStore, shadow=lambda _: ShareStoreShadow()),
        "warehouse": _table(bigquery.GROUP, bigquery.ShareEventTable, warehouse),
        "segment": _table(
            segment.GROUP,
            segment.SegmentTable,
            warehouse,
            decode=partial(segment_messages, events_topic=events_topic),
            reads_segment=True,
        ),
        "archive": Target(
            group=archive.GROUP,
            make=lambda database, group: archive.EventArchive(
                database, group, ObjectStore(load(ObjectStoreSettings)), load(ArchiveSettings).prefix
            ),
            decode=placed_events,
            no_rebuild="it is what a rebuild reads where the topic has forgotten. wishlist archive verify says what is "
            "missing in it; wishlist replay archive puts there what the topic still has.",
        ),
        "preview": Target(
            group=previews.GROUP,
            make=previews.PreviewQueue,
            reaches_people=True,
            no_rebuild="its pictures would be drawn, and shown to people, once more. wishlist replay preview --again "
            "--from MOMENT has those drawn of which events since then speak.",
        ),
        "digest": Target(
            group=digest.GROUP, make=digest.DigestCounts, reaches_people=True, no_rebuild=_TOLD.format("digest")
        ),
        "push": Target(
            group=push.GROUP,
            make=lambda database, group: push.PushQueue(database, group, load(PushSettings)),
            reaches_people=True,
            no_rebuild=_TOLD.format("push"),
        ),
        "webhook": Target(
            group=webhook.GROUP, make=webhook.WebhookQueue, reaches_people=True, no_rebuild=_TOLD.format("webhook")
        ),
    }


def _table(group: str, sink: type[WarehouseTable[Any]], settings: WarehouseSettings, **more: Any) -> Target:
    """A sink of a table in BigQuery."""
    return Target(
        group=group,
        make=lambda database, lane: sink(database, lane, Warehouse(settings)),
        shadow=lambda replay: TableShadow(Warehouse(settings), sink.table, sink, replay),
        batch_events=settings.batch_events,
        **more,
    )
