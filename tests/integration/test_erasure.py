"""A person is put into every store, erased, and looked for in every table, key, object and row there is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from api.cache import ShareCache
from api.database import Database as ApiDatabase
from api.limits import Limit, Limiter
from api.messages import MessageBox
from api.redis_gate import RedisGate
from api.shares_model import Share, SharedList
from clients import outbox
from clients.bigquery import Warehouse
from clients.links import SHARE_LIMIT, TOMBSTONE, share_key
from clients.objects import ObjectStore, content_key, preview_key
from clients.postgres import Database
from config.settings import ApiSettings, ObjectStoreSettings, PostgresSettings
from ops.archive import faults_of
from ops.erasure.archive import LOCK, ArchivedEvents
from ops.erasure.contract import Eraser
from ops.erasure.job import Erasures
from ops.erasure.links import Links
from ops.erasure.pictures import Pictures
from ops.erasure.postgres import ROWS, PostgresRows
from ops.erasure.warehouse import WarehouseRows
from ops.seed import key_of
from schemas import archive, segment
from schemas.codec import Origin
from schemas.event import EventType, ShareEvent
from schemas.ids import item_id_for, new_share_token, uuid7
from schemas.segment import SegmentMessage
from sinks.archive import EventArchive
from sinks.archive_files import ArchiveReader
from sinks.bigquery import ShareEventTable
from sinks.contract import Batch, DeadLetter, Move, Partition, PlacedEvent, Sink
from sinks.dead_letters import DeadLetterStore
from sinks.digest import DigestCounts
from sinks.previews import PreviewQueue
from sinks.push import PushQueue
from sinks.segment import SegmentTable
from sinks.share_store import ShareStore
from tests.lab import CODEC, ROOT, event, eventually, open_database
from tests.redis_database import empty_redis, redis_settings
from tests.warehouse import made_warehouse

MAYA, OTHER, ROBIN = key_of("user_maya"), key_of("user_other"), key_of("user_recipient")
WORDS = {"key": str(MAYA), "public id": "user_maya", "name": "Maya C.", "message": "for my dearest aunt"}
PREFIX = "archive/"
# The list of removed users knows them by key, so that what comes later is known too.
THE_LIST = {"postgres removed_users: key", "postgres erasures: key"}


@dataclass
class World:
    """One test's stores."""

    database: Database
    dsn: str
    pool: asyncpg.Pool
    redis: Redis
    redis_url: str
    bucket: ObjectStore
    warehouse: Warehouse

    def erasers(self) -> Sequence[Eraser]:
        return (
            PostgresRows(self.database),
            Links(self.database, self.redis, ApiSettings()),
            Pictures(self.database, self.bucket),
            ArchivedEvents(self.database, self.bucket, PREFIX),
            WarehouseRows(self.database, self.warehouse),
        )

    def job(self) -> Erasures:
        return Erasures(self.database, self.erasers())

    async def deliver(self, events: list[ShareEvent], messages: list[SegmentMessage], suffix: str = "") -> None:
        """Have every sink apply these, as a group of its own: what it has seen before, others have not."""
        sinks: list[Sink] = [
            ShareStore(self.database, f"persist{suffix}"),
            PreviewQueue(self.database, f"preview{suffix}"),
            DigestCounts(self.database, f"digest{suffix}"),
            PushQueue(self.database, f"push{suffix}"),
            DeadLetterStore(self.database, f"dead{suffix}"),
            EventArchive(self.database, f"archive{suffix}", self.bucket, PREFIX),
            ShareEventTable(self.database, f"warehouse{suffix}", self.warehouse),
            SegmentTable(self.database, f"segment{suffix}", self.warehouse),
        ]
        partition = Partition("events", UUID(int=7), 0)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        said = [message for one in events if (message := segment.said_by(one)) is not None]
        letters = [
            DeadLetter(0, n, one.share_token.encode(), CODEC.encode(one), {"group": "g"})
            for n, one in enumerate(events)
        ]
        letters += [DeadLetter(1, n, b"", segment.encode(one), {"group": "g"}) for n, one in enumerate(messages)]
        placed = [
            PlacedEvent(one, Origin("events", 0, n, now_ms), one.share_token.encode()) for n, one in enumerate(events)
        ]
        for sink in sinks:
            await sink.positions({partition: 0})
            await sink.apply(Batch((Move(partition, 0, len(events)),), events, letters, [*said, *messages], placed))

    async def traces(self) -> set[str]:
        """Where any of the person's words stands: store, place, and which word."""
        found = set()
        tables = await self.pool.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        for table in (row["relname"] for row in tables):
            for what, word in WORDS.items():
                # Bytes are shown as their hexadecimal digits.
                if await self.pool.fetchval(
                    f"SELECT count(*) FROM {table} t WHERE strpos(t::text, $1) + strpos(t::text, $2) > 0",
                    word,
                    word.encode().hex(),
                ):
                    found.add(f"postgres {table}: {what}")
        async for key in self.redis.scan_iter():
            kind = (await self.redis.type(key)).decode()
            read = {"string": self.redis.get, "hash": self.redis.hgetall, "zset": lambda k: self.redis.zrange(k, 0, -1)}
            found |= mentions(
                f"redis {key.decode().split(':')[0]}", str(key).encode() + repr(await read[kind](key)).encode()
            )
        async for stored in self.bucket.listing(""):
            body = await self.bucket.get(stored.key) or b""
            where = "/".join(stored.key.split("/")[:2]) if stored.key.startswith("social") else stored.key.split("/")[0]
            found |= mentions(f"bucket {where}", body)
            if stored.key.endswith(".avro"):
                found |= {
                    f"bucket {where}: {what}" for what, word in WORDS.items() if archive.mentions(body, [word.encode()])
                }
        for table in ("share_events", "segment_messages"):
            rows = await asyncio.to_thread(
                self.warehouse.query,
                f"SELECT * FROM `{self.warehouse.dataset}.{table}` WHERE event_date > '1970-01-01'",
            )
            found |= mentions(f"bigquery {table}", repr(rows).encode())
        return found


def mentions(where: str, content: bytes) -> set[str]:
    return {f"{where}: {what}" for what, word in WORDS.items() if word.encode() in content}


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with made_warehouse(f"erasure_{uuid4().hex[:12]}") as warehouse:
        yield warehouse


@pytest.fixture
async def world(warehouse: Warehouse) -> AsyncIterator[World]:
    name = f"erasure_{uuid4().hex[:12]}"
    bucket = ObjectStore(ObjectStoreSettings(bucket=name.replace("_", "-")))
    await bucket.ensure_bucket()
    async with open_database(name) as dsn, empty_redis("erasure") as redis:
        database = Database(PostgresSettings(dsn=dsn))
        pool = await database.pool()
        yield World(database, dsn, pool, redis, redis_settings("erasure").url, bucket, warehouse)
        await pool.close()
    for table in ("share_events", "segment_messages"):
        await asyncio.to_thread(
            warehouse.query, f"DELETE FROM `{warehouse.dataset}.{table}` WHERE event_date > '1970-01-01'"
        )
    async for stored in bucket.listing(""):
        await bucket.delete(stored.key)


@dataclass
class Story:
    """What was planted: Maya's share and another person's, with what people did to them."""

    maya_token: str
    other_token: str
    events: list[ShareEvent]
    messages: list[SegmentMessage]


async def plant(world: World) -> Story:
    """Maya shares a list, Robin adds an item of it; Alex shares one, Maya adds an item of that."""
    key = Fernet.generate_key()
    await world.pool.execute("INSERT INTO owner_keys (owner_id, key) VALUES ($1, $2)", MAYA, key)
    sealed = Fernet(key).encrypt(WORDS["message"].encode()).decode()
    token, other = new_share_token(), new_share_token()
    of_other = {"wishlist_id": key_of("wl_other_user_list"), "user_id": OTHER}
    mayas_list, robins_list = uuid4(), key_of("wl_recipient_001")
    await world.pool.execute(
        "INSERT INTO wishlists (id, public_id, owner_id, title) VALUES ($1, 'wl_maya_2', $2, 'Maya C. wants')",
        mayas_list,
        MAYA,
    )

    def copied(of: str, to: UUID, by: UUID, **changes: object) -> ShareEvent:
        return event(
            EventType.ITEM_ADDED, of, product_id="prod_ki001", recipient_user_id=by, recipient_wishlist_id=to,
            wishlist_item_id=item_id_for(to, "prod_ki001", uuid4()), **changes,
        )  # fmt: skip

    events = [
        event(EventType.CREATED, token, message=sealed, hidden_item_ids=(key_of("item_abc123"),)),
        event(EventType.VIEWED, token, visitor_hash="a" * 32, page_view_id=uuid7(), platform="web"),
        copied(token, robins_list, ROBIN),
        event(EventType.CREATED, other, **of_other),
        event(EventType.VIEWED, other, visitor_hash="b" * 32, page_view_id=uuid7(), platform="web", **of_other),
        copied(other, mayas_list, MAYA, **of_other),
        copied(other, robins_list, ROBIN, **of_other),
    ]
    messages = [
        said("m1", "user_maya", "browser-1"),
        said("m2", None, "browser-1"),
        said("m3", "user_other", "browser-2"),
    ]
    await world.deliver(events, messages)
    await settle_account(world, token)
    await remember_in_redis(world, events[0], events[3])
    for of in (token, other):
        await world.bucket.put(
            preview_key(of), b"a card of " + (b"Maya C." if of == token else b"Alex T."), "image/png"
        )
    await world.bucket.put(content_key("c0ffee"), b"a card of Maya C.", "image/png")
    await world.pool.execute("UPDATE previews SET content_hash = 'c0ffee' WHERE share_token = $1", token)
    return Story(token, other, events, messages)


def said(message_id: str, user_id: str | None, anonymous_id: str) -> SegmentMessage:
    now = datetime.now(UTC)
    return SegmentMessage(
        message_id=message_id, type="track", event="share_initiated", user_id=user_id, anonymous_id=anonymous_id,
        timestamp=now, received_at=now,
    )  # fmt: skip


async def settle_account(world: World, token: str) -> None:
    """What the API and the notification agents keep of a user."""
    device = await world.pool.fetchval(
        "INSERT INTO devices (user_id, platform, token) VALUES ($1, 'ios', 'a-device-token') RETURNING id", MAYA
    )
    await world.pool.execute(
        "INSERT INTO push_deliveries (push_id, device_id, due_at) SELECT id, $2, now() FROM pushes WHERE owner_id = $1",
        MAYA,
        device,
    )
    await world.pool.execute(
        "INSERT INTO notification_preferences VALUES ($1, 'social', 'push', true)",
        MAYA,
    )
    await world.pool.execute(
        "INSERT INTO digests (id, owner_id, local_date, content, due_at) VALUES ($1, $2, current_date, $3, now())",
        uuid4(),
        MAYA,
        json.dumps({"user_id": "user_maya", "name": "Maya C."}),
    )
    await outbox.append(world.pool, CODEC, event(EventType.REVOKED, token))
    await outbox.append(
        world.pool,
        CODEC,
        event(EventType.REVOKED, wishlist_id=key_of("wl_other_user_list"), user_id=OTHER, recipient_user_id=MAYA),
    )


async def remember_in_redis(world: World, mine: ShareEvent, others: ShareEvent) -> None:
    gate = RedisGate(world.redis)
    cache = ShareCache(gate, 3_600)
    for made, name, public_id in ((mine, "Maya C.", "user_maya"), (others, "Alex T.", "user_other")):
        shown = SharedList(
            title="List", owner_display_name=name, owner_public_id=public_id, listed_at=made.timestamp, items="[]",
            item_count=0, total="0.00", currency=None,
        )  # fmt: skip
        await cache.put_new(Share.of(made), shown)
        await cache.remember_added(public_id, "wli_1", b"{}")
        limiter = Limiter(gate, fallback_per_minute=100)
        await limiter.hit(Limit(SHARE_LIMIT, 20, 3_600, ""), public_id)


async def of_others(world: World) -> dict[str, list[str]]:
    """All rows that stay: those in which none of the person's words or tokens stand, by store."""
    rows = {}
    for table in ("users", "wishlists", "wishlist_items", "wishlist_shares", "digest_counts", "pushes", "previews"):
        found = await world.pool.fetch(
            f"SELECT t::text AS row FROM {table} t WHERE strpos(t::text, $1) = 0 ORDER BY 1", str(MAYA)
        )
        rows[table] = [row["row"] for row in found]
    return rows


async def erase(world: World) -> dict[str, str]:
    """Run what is left to do; the note of each store that is not done."""
    waits: dict[str, str] = {}
    for person in await world.job().open():
        waits |= {done.store: done.note async for done in world.job().run(person.user_id) if not done.is_done}
    return waits


async def test_nothing_is_left_of_a_person_and_nothing_comes_back(world: World) -> None:
    story = await plant(world)
    planted = await world.traces()
    assert {place.partition(": ")[0] for place in planted} >= {
        "postgres users", "postgres wishlists", "postgres wishlist_shares", "postgres digest_counts",
        "postgres devices", "postgres pushes", "postgres digests", "postgres notification_preferences",
        "postgres event_outbox", "postgres dead_letters", "postgres owner_keys", "redis share", "redis view",
        "redis added", "redis rate",
        f"bucket social/{story.maya_token}", "bucket social/by-content", "bucket archive", "bigquery share_events",
        "bigquery segment_messages",
    }  # fmt: skip
    counted = {one.store: one.erased async for one in world.job().count(await world.job().find("user_maya"))}  # type: ignore[arg-type]
    assert all(counted.values()), counted
    assert await world.traces() == planted, "counting removes nothing"

    reader = ArchiveReader(world.database, world.bucket, "archive")
    files = [file async for file in reader.files()]
    await world.job().begin("user_maya", "test")
    assert await erase(world) == {}
    assert await world.traces() == THE_LIST
    kept = [one.event.event_id for file in files for one in await reader.events_of(file)]
    assert kept == [story.events[n].event_id for n in (3, 4, 6)], "also for who had read the manifest before"
    assert await world.redis.get(share_key(story.maya_token)) == TOMBSTONE
    assert await world.redis.get(share_key(story.other_token)) != TOMBSTONE
    assert await world.bucket.exists(preview_key(story.other_token))
    assert [fault async for fault in faults_of(world.database, world.bucket, "archive")] == []
    assert await world.pool.fetchval("SELECT sum(erased) FROM archive_files") == 4
    rows = {row["store"]: row["erased"] for row in await world.pool.fetch("SELECT store, erased FROM erasures")}
    assert rows == counted, "what was counted is what was erased"

    stays = await of_others(world)
    await world.deliver(story.events, story.messages, "-again")
    assert await world.traces() == THE_LIST
    again = await of_others(world)
    assert again["users"] == stays["users"]
    assert again["wishlists"] == stays["wishlists"]
    assert await world.job().find("user_maya") is None
    assert await world.job().erased_at("user_maya") is not None


async def test_every_column_that_names_a_user_is_seen_to(world: World) -> None:
    rows = await world.pool.fetch(
        """SELECT c.relname AS table, a.attname AS column,
                  EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.conkey = ARRAY[a.attnum]
                          AND f.confrelid = 'users'::regclass AND f.confdeltype = 'c') AS goes_along
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
             AND a.attname ~ '(user|owner)_?(id)?$|_by$|public_id' AND a.atttypid = 'uuid'::regtype"""
    )
    named = {(row["table"], row["column"]) for row in rows}
    assert {("digest_counts", "owner_id"), ("wishlist_shares", "created_by"), ("devices", "user_id")} <= named
    strange = {row["table"] for row in rows if not row["goes_along"]} - ROWS.keys()
    # The first names workers.
    assert strange <= {"warehouse_owners", "removed_users", "erasures"}, "add them to ops/erasure/postgres.py"


async def test_others_keep_what_is_theirs(world: World) -> None:
    story = await plant(world)
    before = await of_others(world)
    await world.job().begin("user_maya", "test")
    await erase(world)
    after = await of_others(world)
    mine = {row for row in before["previews"] if story.maya_token in row}
    del before["wishlist_items"], after["wishlist_items"]
    assert after == {**before, "previews": [row for row in before["previews"] if row not in mine]}
    items = await world.pool.fetch("SELECT wishlist_id FROM wishlist_items")
    assert [row["wishlist_id"] for row in items].count(key_of("wl_recipient_001")) == 2, "Robin's copies stay"
    rows = await asyncio.to_thread(
        world.warehouse.query,
        f"SELECT event_id FROM `{world.warehouse.dataset}.share_events` WHERE event_date > '1970-01-01'",
    )
    assert {row["event_id"] for row in rows} == {str(story.events[n].event_id) for n in (3, 4, 6)}
    told = await asyncio.to_thread(
        world.warehouse.query,
        f"SELECT id FROM `{world.warehouse.dataset}.segment_messages` WHERE event_date > '1970-01-01'",
    )
    assert "m3" in {row["id"] for row in told}
    assert not {"m1", "m2"} & {row["id"] for row in told}


async def test_killed_half_way_the_next_run_completes_it(world: World) -> None:
    await plant(world)
    env = {
        **os.environ, "PYTHONPATH": str(ROOT), "POSTGRES_DSN": world.dsn, "REDIS_URL": world.redis_url,
        "R2_BUCKET": world.bucket.bucket, "BIGQUERY_DATASET": world.warehouse.settings.dataset,
    }  # fmt: skip
    command = [sys.executable, "-m", "ops.cli", "erase"]
    running = await asyncio.create_subprocess_exec(
        *command, "user_maya", "--yes", env=env, cwd=ROOT, stdout=subprocess.DEVNULL
    )

    async def begun() -> bool:
        return bool(await world.pool.fetchval("SELECT count(*) FROM erasures WHERE store = 'postgres' AND is_done"))

    await eventually(begun, 60, "the rows in PostgreSQL are gone")
    running.kill()
    await running.wait()
    assert await world.pool.fetchval("SELECT count(*) FROM erasures WHERE is_done") < 5
    done = await asyncio.to_thread(subprocess.run, command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert await world.traces() == THE_LIST
    again = await asyncio.to_thread(
        subprocess.run, [*command, "user_maya"], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert "was erased on" in again.stdout


async def test_a_store_that_has_to_wait_is_done_later(world: World) -> None:
    await plant(world)
    await world.pool.execute("UPDATE previews SET lease_until = now() + interval '1 minute'")
    note = uuid4()
    await world.pool.execute(
        """INSERT INTO warehouse_appends
               (id, consumer_group, stream, row_offset, event_ids, topics, topic_ids, partitions, expected, next)
           VALUES ($1, 'g', 's', 0, '{}', '{}', '{}', '{}', '{}', '{}')""",
        note,
    )
    await world.job().begin("user_maya", "test")
    async with world.pool.acquire() as another:
        await another.execute("SELECT pg_advisory_lock($1)", LOCK)
        assert set(await erase(world)) == {"pictures", "archive", "bigquery"}
        await another.execute("SELECT pg_advisory_unlock($1)", LOCK)
    await world.pool.execute("UPDATE previews SET lease_until = NULL")
    await world.pool.execute("DELETE FROM warehouse_appends")
    assert await erase(world) == {}
    assert await world.traces() == THE_LIST


async def test_what_a_sink_is_writing_meanwhile_is_waited_for(world: World) -> None:
    await world.job().begin("user_maya", "test")
    writer = await asyncpg.connect(world.dsn)
    transaction = writer.transaction()
    await transaction.start()
    await writer.fetchval("SELECT pg_current_xact_id()")
    running = asyncio.create_task(erase(world))
    await asyncio.sleep(0.5)
    assert not running.done()
    assert await world.pool.fetchval("SELECT count(*) FROM users WHERE id = $1", MAYA) == 1
    await writer.execute(
        "INSERT INTO digest_counts (owner_id, share_id, country, channel, views, items) VALUES ($1, $2, '', '', 1, 0)",
        MAYA,
        uuid4(),
    )
    await transaction.commit()
    await writer.close()
    assert await running == {}
    assert await world.traces() == THE_LIST


async def test_an_account_that_the_shop_deletes_is_erased_by_the_next_run(world: World) -> None:
    story = await plant(world)
    await world.pool.execute("DELETE FROM users WHERE id = $1", MAYA)
    assert await erase(world) == {}
    assert await world.traces() == THE_LIST
    assert await world.redis.get(share_key(story.maya_token)) == TOMBSTONE


async def test_two_files_with_the_same_person_and_a_damaged_one(world: World) -> None:
    await plant(world)
    await world.deliver([event(), event()], [], "-second")
    [first, *_] = await world.pool.fetch("SELECT key FROM archive_files ORDER BY id DESC")
    body = await world.bucket.get(first["key"]) or b""
    await world.bucket.put(first["key"], body[:-20], "application/avro")
    await world.job().begin("user_maya", "test")
    waits = await erase(world)
    assert set(waits) == {"archive"}
    assert first["key"] in waits["archive"]
    await world.bucket.put(first["key"], body, "application/avro")
    assert await erase(world) == {}
    assert await world.traces() == THE_LIST


async def test_a_file_that_a_kill_left_behind_goes_at_once(world: World) -> None:
    story = await plant(world)
    [row] = await world.pool.fetch("SELECT key FROM archive_files")
    body = await world.bucket.get(row["key"]) or b""
    await world.bucket.put(f"{PREFIX}events/left-behind.avro", body, "application/avro")
    kept = [
        one
        for one in archive.read(body)
        if one.event.share_token == story.other_token and one.event.recipient_user_id is None
    ]
    await world.bucket.put(f"{PREFIX}events/of-others.avro", archive.write(kept), "application/avro")
    await world.job().begin("user_maya", "test")
    assert await erase(world) == {}
    assert await world.traces() == THE_LIST
    assert await world.bucket.exists(f"{PREFIX}events/of-others.avro"), "the sweep's, in its own time"
    assert not await world.bucket.exists(row["key"])


async def test_messages_cannot_be_read_any_more(world: World) -> None:
    story = await plant(world)
    [sealed] = [one.message for one in story.events if one.message is not None]
    assert await MessageBox(ApiDatabase(world.pool, seconds=2)).open(MAYA, sealed) == WORDS["message"]
    await world.job().begin("user_maya", "test")
    await erase(world)
    assert await MessageBox(ApiDatabase(world.pool, seconds=2)).open(MAYA, sealed) is None
