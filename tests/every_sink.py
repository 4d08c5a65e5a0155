"""Every sink under the same faults: what events owe it, what it has. A later one joins by a line of ``SINKS``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import msgspec

from clients import webhooks
from clients.bigquery import Warehouse
from clients.objects import ObjectStore
from clients.postgres import Database
from config.settings import ObjectStoreSettings, PostgresSettings
from notifications import webhook as webhook_words
from ops.archive import faults_of
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.segment import said_by
from sinks import archive, bigquery, digest, previews, push, segment, share_store, webhook
from sinks.archive_files import ArchiveReader
from tests.lab import NOWHERE, Lab, eventually, expected_totals, story
from tests.push_services import PushServices, device_token
from tests.warehouse import open_warehouse, rows_of
from tests.webhook_receiver import Receiver, open_receiver

TWO_DAYS = str(timedelta(days=2).total_seconds())


@dataclass(frozen=True)
class House:
    """A lab in which each sink finds what it writes to."""

    lab: Lab
    warehouse: Warehouse
    store: ObjectStore
    receiver: Receiver
    push_services: PushServices
    device: str

    async def counted(self, sql: str, *arguments: object) -> Counter[str]:
        """The rows of *sql*, each a key and a number."""
        return Counter({str(key): int(number) for key, number in await self.lab.pool.fetch(sql, *arguments)})


async def archived(lab: Lab, store: ObjectStore, group: str) -> list[ShareEvent]:
    """What the archive's listed files hold; each of them is whole, and in the order of the topic."""
    database = Database(PostgresSettings(dsn=lab.dsn))
    try:
        found = [one async for one in ArchiveReader(database, store, group).events()]
        assert [fault async for fault in faults_of(database, store, group)] == []
    finally:
        await (await database.pool()).close()
    for number in range(12):
        offsets = [one.origin.offset for one in found if one.origin.partition == number]
        assert offsets == sorted(set(offsets)), "in the order in which they lie in the topic"
    return [one.event for one in found]


def ids_of(events: Iterable[ShareEvent]) -> Counter[str]:
    """How often each event is among them."""
    return Counter(str(event.event_id) for event in events)


@dataclass(frozen=True, kw_only=True)
class SinkUnderTest:
    """One sink by its agent: *owed* is what so many events must have become there, *held* what has become of them."""

    agent: str
    group: str
    owed: Callable[[Sequence[ShareEvent]], Counter[str]]
    held: Callable[[House, str], Awaitable[Counter[str]]]
    reaches_people: bool = False

    def group_in(self, lab: Lab) -> str:
        """Its consumer group."""
        return self.group + lab.env["STREAM_GROUP_SUFFIX"]

    async def holds_each_once(self, house: House, events: Sequence[ShareEvent], within: float = 1_800) -> None:
        """The verdict: it has read to the end, has each event once, and Kafka believes no more than it has."""
        group = self.group_in(house.lab)
        await house.lab.applied(group, within)
        assert await self.held(house, group) == self.owed(events), self.agent
        await self.kafka_is_never_ahead(house.lab)

    async def kafka_is_never_ahead(self, lab: Lab) -> None:
        """What Kafka believes that the group has done, the sink has applied."""
        group = self.group_in(lab)
        # In this order: the sink may go on meanwhile.
        committed = await asyncio.to_thread(lab.committed, group)
        marks = await lab.watermarks(group)
        assert all(offset <= marks.get(number, 0) for number, offset in committed.items()), (committed, marks)

    async def kafka_is_told(self, lab: Lab) -> None:
        """In the end Kafka believes just what the sink has applied, so that lag can be read off."""

        async def told() -> bool:
            group = self.group_in(lab)
            return await asyncio.to_thread(lab.committed, group) == await lab.watermarks(group)

        await eventually(told, 90, f"Kafka is told what {self.agent} has")

    async def progress(self, lab: Lab) -> int:
        """Offsets that it has applied, in all."""
        return sum((await lab.watermarks(self.group_in(lab))).values())

    async def begins(self, house: House, above: int = -1) -> None:
        """Wait until it has got further than *above*."""

        async def moving() -> bool:
            return await self.progress(house.lab) > above and bool(await house.lab.watermarks(self.group_in(house.lab)))

        await eventually(moving, 120, f"{self.agent} is at work")


async def _share_store(house: House, _: str) -> Counter[str]:
    return Counter(await house.lab.totals())


async def _previews(house: House, _: str) -> Counter[str]:
    return await house.counted(
        """SELECT share_token || CASE WHEN state = 'withdrawn' THEN ' withdrawn' ELSE ' wanted' END, count(*)
           FROM previews GROUP BY 1"""
    )


async def _digest(house: House, _: str) -> Counter[str]:
    return await house.counted(
        """SELECT 'views', coalesce((SELECT sum(views) FROM digest_counts), 0)
                  + coalesce((SELECT sum((content->'totals'->>'views')::int) FROM digests), 0)
           UNION ALL
           SELECT 'items', coalesce((SELECT sum(items) FROM digest_counts), 0)
                  + coalesce((SELECT sum((content->'totals'->>'items_added')::int) FROM digests), 0)"""
    )


async def _push(house: House, _: str) -> Counter[str]:
    return await house.counted("SELECT 'items', coalesce(sum(items), 0) FROM pushes")


async def _webhook(house: House, _: str) -> Counter[str]:
    return await house.counted("SELECT body::json->'data'->>'event_id', count(*) FROM webhook_deliveries GROUP BY 1")


async def _warehouse(house: House, group: str) -> Counter[str]:
    await _no_open_notes(house, group)
    return Counter(row["event_id"] for row in await rows_of(house.warehouse, "event_id"))


async def _segment(house: House, group: str) -> Counter[str]:
    await _no_open_notes(house, group)
    return Counter(row["id"] for row in await rows_of(house.warehouse, "id", "segment_messages"))


async def _no_open_notes(house: House, group: str) -> None:
    notes = "SELECT count(*) FROM warehouse_appends WHERE consumer_group = $1"
    assert await house.lab.pool.fetchval(notes, group) == 0, "an append whose fate nobody has asked for"


async def _archive(house: House, group: str) -> Counter[str]:
    return ids_of(await archived(house.lab, house.store, group))


def _unique(events: Iterable[ShareEvent]) -> list[ShareEvent]:
    return list({event.event_id: event for event in events}.values())


def _pictures(events: Sequence[ShareEvent]) -> Counter[str]:
    ended = {event.share_token for event in events if event.event_type is EventType.REVOKED}
    shares = {event.share_token for event in events}
    return Counter(f"{token} {'withdrawn' if token in ended else 'wanted'}" for token in shares)


def _told(events: Sequence[ShareEvent]) -> Counter[str]:
    kinds = Counter(event.event_type for event in _unique(events))
    return Counter({"views": kinds[EventType.VIEWED], "items": kinds[EventType.ITEM_ADDED]})


def _ids(events: Iterable[ShareEvent]) -> Counter[str]:
    return ids_of(_unique(events))


SINKS = (
    SinkUnderTest(agent="persist", group=share_store.GROUP, owed=lambda e: Counter(expected_totals([*e])),
                  held=_share_store),
    SinkUnderTest(agent="preview", group=previews.GROUP, owed=_pictures, held=_previews, reaches_people=True),
    SinkUnderTest(agent="digest", group=digest.GROUP, owed=_told, held=_digest, reaches_people=True),
    SinkUnderTest(agent="push", group=push.GROUP, held=_push, reaches_people=True,
                  owed=lambda events: Counter(items=_told(events)["items"])),
    SinkUnderTest(agent="webhook", group=webhook.GROUP, held=_webhook, reaches_people=True,
                  owed=lambda events: _ids([event for event in events if webhook_words.is_told(event)])),
    SinkUnderTest(agent="warehouse", group=bigquery.GROUP, owed=_ids, held=_warehouse),
    SinkUnderTest(agent="segment", group=segment.GROUP, held=_segment,
                  owed=lambda events: Counter({said.message_id for event in events if (said := said_by(event))})),
    SinkUnderTest(agent="archive", group=archive.GROUP, owed=_ids, held=_archive),
)  # fmt: skip


def lively_story(count: int) -> list[ShareEvent]:
    """:func:`tests.lab.story`, in which every twentieth view is somebody adding an item instead."""
    events = story(count)
    for number, event in enumerate(events):
        if event.event_type is EventType.VIEWED and number % 20 == 0:
            events[number] = msgspec.structs.replace(
                event,
                event_type=EventType.ITEM_ADDED,
                visitor_hash=None,
                page_view_id=None,
                wishlist_item_id=uuid4(),
                product_id="prod_1a2b3c",
                recipient_user_id=key_of("user_recipient"),
                recipient_wishlist_id=key_of("wl_recipient_001"),
            )
    return events


@asynccontextmanager
async def open_house(lab: Lab) -> AsyncIterator[House]:
    """Give *lab*'s sinks what they write to, and small batches: however fast a worker is, it is caught at work."""
    name = lab.kafka.events_topic.split(".")[0]
    async with open_warehouse(name) as warehouse:
        store, services, device = ObjectStore(ObjectStoreSettings()), PushServices(), device_token("fcm")
        lab.env |= {
            "BIGQUERY_DATASET": warehouse.settings.dataset,
            "BIGQUERY_BATCH_SECONDS": "0.2",
            "BIGQUERY_BATCH_EVENTS": "500",
            "ARCHIVE_PREFIX": f"archive/{name}/",
            "ARCHIVE_BATCH_SECONDS": "0.3",
            "ARCHIVE_BATCH_EVENTS": "300",
            "SQS_QUEUE": f"faults-{name}.fifo",
            "PUSH_LATEST_SECONDS": TWO_DAYS,
            "WEBHOOK_LATEST_SECONDS": TWO_DAYS,
            "PUSH_COLLAPSE_SECONDS": "1",
            # Pictures are tested on their own (test_render_faults.py); here nobody draws any.
            "RENDERER_URL": f"http://{NOWHERE}",
            "STREAM_MAX_POLL_RECORDS": "50",
            "STREAM_RETRY_MAX_SECONDS": "1",
        }
        with open_receiver() as receiver:
            receiver.secrets["/"] = webhooks.new_secret()
            maya = key_of("user_maya")
            await lab.pool.execute(webhooks.SET, maya, receiver.url(), receiver.secrets["/"], False)
            await lab.pool.execute("UPDATE webhooks SET enabled_at = now() - interval '2 days'")
            await lab.pool.execute("UPDATE users SET quiet_start = NULL, quiet_end = NULL WHERE id = $1", maya)
            await lab.pool.execute(
                "INSERT INTO devices (user_id, platform, token) VALUES ($1, 'android', $2)", maya, device
            )
            try:
                yield House(lab, warehouse, store, receiver, services, device)
            finally:
                lab.stop_all()
                await services.close()
                async for stored in store.listing(lab.env["ARCHIVE_PREFIX"]):
                    await store.delete(stored.key)
