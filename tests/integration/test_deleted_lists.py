"""A list, or an account, that is deleted in PostgreSQL by whomever: links, pictures and counts of it end with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from api.cache import ShareCache
from api.redis_gate import RedisGate
from api.shares_model import Share, SharedList
from clients.links import TOMBSTONE, share_key, view_key
from clients.objects import ObjectStore, content_key, preview_key
from clients.postgres import Database
from config.settings import ApiSettings, ObjectStoreSettings, PostgresSettings
from ops.cli import app
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.contract import Batch, Move, Partition
from sinks.digest import DigestCounts
from sinks.postgres import PostgresSink
from sinks.previews import PreviewQueue
from sinks.push import PushQueue
from sinks.share_store import ShareStore
from streams.outbox.worker import OutboxWorker
from streams.previews.purging import PurgeOutbox
from streams.shares.ended_lists import EndedListOutbox
from tests.integration.test_purge import hook
from tests.lab import event, open_database
from tests.redis_database import empty_redis, redis_settings

LIST = "wl_8a2b3c4d5e6f"
SINKS: tuple[type[PostgresSink], ...] = (ShareStore, PreviewQueue, DigestCounts)
# What is kept of shares, by table.
OF_SHARES = ("wishlist_shares", "share_visitors", "previews", "digest_counts", "digest_visitors", "pushes")


@dataclass
class World:
    """Two shares of Maya's list, one of which PostgreSQL has not heard of, and one of another list."""

    dsn: str
    pool: asyncpg.Pool
    database: Database
    redis: Redis
    cache: ShareCache
    token: str
    new_token: str
    other_token: str
    events: list[ShareEvent]

    async def deliver(self, suffix: str) -> None:
        partition = Partition("events", UUID(int=7), 0)
        for sink in (*(kind(self.database, f"{kind.__name__}{suffix}") for kind in SINKS),
                     PushQueue(self.database, f"push{suffix}")):  # fmt: skip
            await sink.positions({partition: 0})
            await sink.apply(Batch((Move(partition, 0, len(self.events)),), self.events))

    async def rows(self) -> dict[str, int]:
        return {table: await self.pool.fetchval(f"SELECT count(*) FROM {table}") for table in OF_SHARES}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    name = f"deleted_{uuid4().hex[:12]}"
    async with open_database(name) as dsn, empty_redis("deleted lists") as redis:
        database = Database(PostgresSettings(dsn=dsn))
        pool = await database.pool()
        token, new_token, other = new_share_token(), new_share_token(), new_share_token()
        of_other = {"wishlist_id": key_of("wl_other_user_list"), "user_id": key_of("user_other")}
        events = [
            made
            for of, changes in ((token, {}), (other, of_other))
            for made in (
                event(EventType.CREATED, of, **changes),
                event(EventType.VIEWED, of, visitor_hash="a", **changes),
                event(EventType.ITEM_ADDED, of, recipient_user_id=key_of("user_new"), **changes),
            )
        ]
        cache = ShareCache(RedisGate(redis), 3_600)
        world = World(dsn, pool, database, redis, cache, token, new_token, other, events)
        await world.deliver("")
        for made in (events[0], event(EventType.CREATED, new_token), events[3]):
            shown = SharedList(
                title="List", owner_display_name="Maya C.", owner_public_id="user_maya", listed_at=made.timestamp,
                items="[]", item_count=0, total="0.00", currency=None,
            )  # fmt: skip
            await cache.put_new(Share.of(made), shown)
        yield world
        await pool.close()


async def is_buried(world: World, token: str) -> bool:
    kept = await world.redis.get(share_key(token))
    return kept == TOMBSTONE and not await world.redis.exists(view_key(token))


async def test_links_of_a_deleted_list_end_where_postgresql_does_not_speak(world: World) -> None:
    await world.pool.execute("DELETE FROM wishlists WHERE public_id = $1", LIST)
    told: list[object] = []
    async with hook([], told) as url:
        outbox = EndedListOutbox(world.redis, ApiSettings(purge_url=url))
        ended = OutboxWorker(outbox, world.database)
        assert await ended.round() == 1
        assert await ended.round() == 0
        await outbox.close()
    assert [await is_buried(world, token) for token in (world.token, world.new_token)] == [True, True]
    assert not await is_buried(world, world.other_token)
    assert world.token in json.dumps(told)
    assert world.new_token in json.dumps(told)
    assert world.other_token not in json.dumps(told)


async def test_a_cdn_that_is_not_told_is_told_later(world: World) -> None:
    await world.pool.execute("DELETE FROM wishlists WHERE public_id = $1", LIST)
    outbox = EndedListOutbox(world.redis, ApiSettings(purge_url="http://127.0.0.1:9/purge"))
    await OutboxWorker(outbox, world.database).round()
    assert await is_buried(world, world.token)
    [row] = await world.pool.fetch("SELECT reason, parked_at, lease_owner FROM ended_lists")
    assert (row["parked_at"], row["lease_owner"]) == (None, None)
    assert "hook" in row["reason"]
    await outbox.close()


async def test_pictures_of_a_deleted_list_go_and_their_rows_too(world: World) -> None:
    store = ObjectStore(ObjectStoreSettings())
    content = f"test-{uuid4().hex}"
    for key in (preview_key(world.token), preview_key(world.other_token), content_key(content)):
        await store.put(key, b"a picture", "image/png")
    await world.pool.execute("UPDATE previews SET state = 'done', content_hash = $1", content)
    await world.pool.execute("DELETE FROM wishlists WHERE public_id = $1", LIST)
    assert await OutboxWorker(PurgeOutbox(store), world.database).round() == 1
    assert not await store.exists(preview_key(world.token))
    assert not await store.exists(content_key(content))
    assert await store.exists(preview_key(world.other_token))
    assert [row["share_token"] for row in await world.pool.fetch("SELECT share_token FROM previews")] == [
        world.other_token
    ]
    await store.delete(preview_key(world.other_token))


async def test_later_events_of_a_deleted_list_are_skipped(world: World) -> None:
    before = await world.rows()
    await world.pool.execute("DELETE FROM wishlists WHERE public_id = $1", LIST)
    await OutboxWorker(PurgeOutbox(ObjectStore(ObjectStoreSettings())), world.database).round()
    after = await world.rows()
    assert after == {table: count / 2 for table, count in before.items()}, "the other list's stay"
    counts = await world.pool.fetch("SELECT owner_id, views, items FROM digest_counts")
    await world.deliver("-again")
    assert await world.rows() == after
    owners = {row["owner_id"] for row in await world.pool.fetch("SELECT owner_id FROM digest_counts")}
    assert owners == {row["owner_id"] for row in counts} == {key_of("user_other")}


async def test_a_preview_that_is_being_written_as_its_list_is_deleted_is_withdrawn_too(world: World) -> None:
    writer = await asyncpg.connect(world.dsn)
    transaction = writer.transaction()
    await transaction.start()
    made = event(EventType.CREATED)
    sink, partition = PreviewQueue(world.database, "racing"), Partition("events", UUID(int=7), 0)
    await sink.positions({partition: 0})
    await sink._write(writer, Batch((Move(partition, 0, 1),), [made]))  # type: ignore[arg-type]
    deleting = asyncio.create_task(world.pool.execute("DELETE FROM wishlists WHERE public_id = $1", LIST))
    await asyncio.sleep(0.3)
    assert not deleting.done(), "the list's deletion waits for the row"
    await transaction.commit()
    await writer.close()
    await deleting
    state = await world.pool.fetchval("SELECT state FROM previews WHERE share_id = $1", made.share_id)
    assert state == "withdrawn"


def test_the_command_ends_everything_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", world.dsn)
    monkeypatch.setenv("REDIS_URL", redis_settings("deleted lists").url)
    done = CliRunner().invoke(app, ["delete", LIST, "--yes"])
    assert done.exit_code == 0, done.output
    assert "links that have ended: 1" in done.output
    gone = CliRunner().invoke(app, ["delete", LIST, "--yes"])
    assert gone.exit_code == 1
    assert "no such list" in gone.output
