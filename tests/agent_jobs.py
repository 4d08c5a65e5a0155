"""What the agents do beside their sinks, a piece of work at a time: they close, announce, send, sweep, remove."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from redis.asyncio import Redis

from cards.thumbnails import Thumbnails, open_thumbnails
from clients import outbox, webhook_call, webhooks
from clients.bigquery import Warehouse
from clients.faults import Unavailable
from clients.links import TOMBSTONE, share_key
from clients.objects import ObjectStore, preview_key
from clients.outbox import OutboxRelay
from clients.postgres import Database
from clients.push_gateway import Answer, PushMessage, Verdict
from clients.queue import Message, Sent
from clients.unsubscribe import UnsubscribeLinks
from config.settings import (
    ApiSettings,
    ArchiveSettings,
    BreakerSettings,
    DigestSettings,
    ExpirySettings,
    ObjectStoreSettings,
    PostgresSettings,
    PushSettings,
    RedisSettings,
    RendererSettings,
    SweepSettings,
    UnsubscribeSettings,
    WebhookSettings,
)
from ops.seed import key_of
from schemas.codec import Origin
from schemas.event import EventType
from schemas.ids import new_share_token
from streams.archiving.sweep import ArchiveSweep
from streams.bigquery.reference_tables import ReferenceTables
from streams.digests.closing import ClosingOutbox
from streams.digests.sending import DigestOutbox
from streams.outbox.worker import OutboxWorker
from streams.previews.fallback import FallbackOutbox
from streams.previews.gate import RendererGate
from streams.previews.purging import PurgeOutbox
from streams.previews.rendering import RenderOutbox
from streams.previews.sweep import PreviewSweep
from streams.pushes.announcing import AnnouncementOutbox
from streams.pushes.sending import DeliveryOutbox
from streams.shares.ended_lists import EndedListOutbox
from streams.shares.expiry import ExpirySweep
from streams.webhooks.calling import WebhookOutbox
from streams.webhooks.maintenance import WebhookMaintenance
from tests.lab import CODEC, Lab, event
from tests.trap import Trap

# Nine in the morning where the owner is, on a new day for each digest.
NINE = datetime(2026, 1, 1, 9, 0, 30, tzinfo=UTC)
MAYA, LIST = key_of("user_maya"), key_of("wl_8a2b3c4d5e6f")
SITE = "https://vantage.com"


@dataclass
class World:
    """A lab in which outsiders note what they are told; *told*: how often each piece of work, by its id."""

    lab: Lab
    trap: Trap
    store: ObjectStore
    pictures: Thumbnails
    warehouse: Warehouse | None = None
    told: Counter[str] = field(default_factory=Counter)
    made: list[str] = field(default_factory=list)

    async def rows(self, sql: str, *arguments: object) -> list[tuple[str, int]]:
        """Pieces of work that are done, and how often."""
        return [(str(key), times) for key, times in await self.lab.pool.fetch(sql, *arguments)]

    async def tell(self, ids: Sequence[str], lost: Exception) -> None:
        """Somebody outside hears of *ids*, unless that call is the spoilt one."""

        async def hear() -> None:
            self.told.update(ids)

        await self.trap.around(hear, lost)

    async def send(self, messages: Sequence[Message]) -> Sent:
        """The queue of digests."""
        await self.tell([one.id for one in messages], Unavailable("the queue", "injected"))
        return Sent({one.id for one in messages})

    async def send_bytes(self, key: str, value: bytes, event_type: str, within: float | None = None) -> None:
        """The producer."""
        sent = CODEC.decode(value, Origin("events", 0, 0, 0))
        await self.tell([str(sent.event_id)], Unavailable("Kafka", "injected"))

    async def call(self, url: str, secrets: Sequence[str], delivery: UUID, body: str) -> webhook_call.Answer:
        """The webhook's receiver; faults of the way are answers."""
        try:
            await self.tell([str(delivery)], TimeoutError("injected"))
        except TimeoutError as error:
            return webhook_call.Answer(None, str(error))
        return webhook_call.Answer(204, "")

    def gateway(self) -> Any:
        """The service that pushes."""
        return Gateway(self)

    async def render(self, request: httpx.Request) -> httpx.Response:
        """The renderer."""
        token = json.loads(request.read())["share_token"]
        await self.tell([token], httpx.ReadError("injected"))
        return httpx.Response(200, json={"cache_key": "content", "image_url": f"{SITE}/{token}"})


@asynccontextmanager
async def open_world(lab: Lab, trap: Trap) -> AsyncIterator[World]:
    """Maya has one device, no quiet hours, and her day in UTC."""
    await lab.pool.execute("UPDATE users SET quiet_start = NULL, quiet_end = NULL, time_zone = 'UTC'")
    await lab.pool.execute("INSERT INTO devices (user_id, platform, token) VALUES ($1, 'android', 'one')", MAYA)
    store, settings = ObjectStore(ObjectStoreSettings()), RendererSettings()
    async with open_thumbnails(settings.image_hosts, settings.thumbnail_dir) as pictures:
        yield World(lab, trap, store, pictures)


@dataclass
class Gateway:
    """FCM, of one world. Faults of the way are answers."""

    world: World

    async def send(self, message: PushMessage) -> Answer:
        """Take it."""
        try:
            await self.world.tell([str(message.id)], TimeoutError("injected"))
        except TimeoutError as error:
            return Answer(Verdict.LATER, str(error))
        return Answer(Verdict.TAKEN, "")

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """*prepare* the number-th piece of work; *round* does what is due; *done* says how often each piece was done.

    *later*: has leases run out and pauses be over. *tells*: somebody outside is told of each piece, under its own id.
    *calls*: so many it makes at least.
    """

    name: str
    prepare: Callable[[World, int], Awaitable[object]]
    round: Callable[[World, Database, int], Awaitable[object]]
    done: Callable[[World], Awaitable[list[tuple[str, int]]]]
    later: tuple[str, ...] = ()
    tells: bool = False
    calls: int = 4
    needs_warehouse: bool = False


def _sql(statement: str) -> Callable[[World], Awaitable[list[tuple[str, int]]]]:
    return lambda world: world.rows(statement)


def _later(table: str, *columns: str) -> str:
    moved = ", ".join(f"{column} = least({column}, now() - interval '1 second')" for column in columns)
    return f"UPDATE {table} SET {moved}"


async def _share(world: World, **columns: object) -> str:
    """A share's row; its token."""
    made = event()
    values = {
        "id": made.share_id,
        "wishlist_id": made.wishlist_id,
        "share_token": made.share_token,
        "created_by": made.user_id,
        "share_channel": "email",
        **columns,
    }
    await _insert(world, "wishlist_shares", values)
    return made.share_token


async def _insert(world: World, table: str, values: dict[str, object]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await world.lab.pool.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())


async def _preview(world: World, state: str, **columns: object) -> str:
    """A share with its picture's row; its token."""
    token = await _share(world, **columns)
    await world.lab.pool.execute(
        """INSERT INTO previews (share_id, share_token, wishlist_id, state, due_at)
           SELECT id, share_token, wishlist_id, $2, now() FROM wishlist_shares WHERE share_token = $1""",
        token,
        state,
    )
    return token


async def _views(world: World, number: int) -> None:
    pool = world.lab.pool
    await pool.execute("INSERT INTO digest_counts VALUES ($1, $2, 'US', 'email', 1, 0)", MAYA, uuid4())
    await pool.execute(
        """INSERT INTO digest_owners (owner_id, is_pending, due_at) VALUES ($1, true, $2)
           ON CONFLICT (owner_id) DO UPDATE SET is_pending = true, due_at = $2""",
        MAYA,
        NINE + timedelta(days=number),
    )


def closer(database: Database, number: int) -> OutboxWorker:
    """Closes the number-th day."""
    return OutboxWorker(ClosingOutbox(database, DigestSettings(), lambda: NINE + timedelta(days=number)), database)


async def _close(world: World, database: Database, number: int) -> None:
    await closer(database, number).round()


async def _digest(world: World, number: int) -> None:
    await _views(world, number)
    database = Database(PostgresSettings(dsn=world.lab.dsn))
    await closer(database, number).round()
    await (await database.pool()).close()


async def _send_digests(world: World, database: Database, _: int) -> None:
    links: Any = UnsubscribeLinks(UnsubscribeSettings(), SITE)
    queue: Any = world
    await OutboxWorker(DigestOutbox(DigestSettings(), queue, links, SITE), database).round()


async def _item(world: World, number: int) -> UUID:
    return await world.lab.pool.fetchval(
        """INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at)
           VALUES ($1, $2, 1, now(), now() - interval '1 minute') RETURNING id""",
        MAYA,
        uuid4(),
    )


async def _announce(world: World, database: Database, _: int) -> None:
    await OutboxWorker(AnnouncementOutbox(database, 1.0), database).round()


async def _delivery(world: World, number: int) -> None:
    await world.lab.pool.execute(
        """WITH told AS (UPDATE pushes SET state = 'told' WHERE id = $1 RETURNING id)
           INSERT INTO push_deliveries (push_id, device_id, due_at) SELECT told.id, d.id, now() FROM told, devices d""",
        await _item(world, number),
    )


async def _send_pushes(world: World, database: Database, _: int) -> None:
    outbox = DeliveryOutbox(database, PushSettings(), "android", world.gateway(), SITE)
    await OutboxWorker(outbox, database).round()


async def _call(world: World, number: int, ago: timedelta = timedelta(0)) -> None:
    if number == 1:
        await world.lab.pool.execute(webhooks.SET, MAYA, f"{SITE}/hook", webhooks.new_secret(), False)
    await world.lab.pool.execute(
        """INSERT INTO webhook_deliveries (id, webhook_id, body, happened_at, due_at)
           SELECT $1, id, '{}', now() - $2::interval, now() FROM webhooks""",
        uuid4(),
        ago,
    )


async def _send_calls(world: World, database: Database, _: int) -> None:
    caller: Any = world
    await OutboxWorker(WebhookOutbox(WebhookSettings(), caller), database).round()


async def _late_call(world: World, number: int) -> None:
    # Younger than what is forgotten.
    await _call(world, number, timedelta(seconds=WebhookSettings().give_up_seconds + 3_600))


async def _upkeep(world: World, database: Database, _: int) -> None:
    await WebhookMaintenance(database, WebhookSettings()).round()


async def _expired(world: World, number: int) -> None:
    await _share(world, expires_at=datetime.now(UTC) - timedelta(minutes=1))


async def _expire(world: World, database: Database, _: int) -> None:
    class Ends:
        async def of_topic(self, topic: str) -> dict[int, int]:
            return {}

    ends: Any = Ends()
    sweep = ExpirySweep(
        database=database, codec=CODEC, ends=ends, topic="events", group="store", settings=ExpirySettings()
    )
    await sweep.sweep()


async def _unsent(world: World, number: int) -> None:
    first = event()
    later = event(EventType.REVOKED, first.share_token, share_id=first.share_id)
    await outbox.append(world.lab.pool, CODEC, first, later)
    world.made += [str(first.event_id), str(later.event_id)]


async def _relay(world: World, database: Database, _: int) -> None:
    producer: Any = world
    await OutboxRelay(await database.pool(), producer).round()


async def _sent(world: World) -> list[tuple[str, int]]:
    rows = await world.lab.pool.fetch("SELECT event_id FROM event_outbox")
    left = {str(row["event_id"]) for row in rows}
    pairs = zip(world.made[::2], world.made[1::2], strict=True)
    return [(first, 1) for first, later in pairs if not {first, later} & left and {first, later} <= world.told.keys()]


async def _due(world: World, number: int) -> None:
    await _preview(world, "due")


async def _render(world: World, database: Database, _: int) -> None:
    async with httpx.AsyncClient(base_url=SITE, transport=httpx.MockTransport(world.render)) as http:
        await OutboxWorker(RenderOutbox(database, RendererSettings(), known_gate(), http), database).round()


def known_gate(is_open: bool = False) -> RendererGate:
    """A gate that has heard from Redis that the operator has not stopped pictures."""
    gate = RendererGate(BreakerSettings(), RedisSettings())
    gate._stopped = False
    for _ in range(BreakerSettings().minimum_number_of_calls if is_open else 0):
        gate.record(failed=True, seconds=0.0)
    return gate


async def _draw(world: World, database: Database, _: int) -> None:
    async with aclosing(FallbackOutbox(database, known_gate(is_open=True), world.pictures, world.store)) as outbox:
        await OutboxWorker(outbox, database).round()


async def _withdrawn(world: World, number: int) -> None:
    token = await _preview(world, "withdrawn")
    await world.store.put(preview_key(token), b"a picture", "image/png")


async def _purge(world: World, database: Database, _: int) -> None:
    await OutboxWorker(PurgeOutbox(world.store), database).round()


async def _purged(world: World) -> list[tuple[str, int]]:
    found = await world.rows("SELECT share_token, 1 FROM previews WHERE purged_at IS NOT NULL")
    for token, _ in found:
        # What is gone once is not asked for again: the bucket is slow to say no.
        if token not in world.made and not await world.store.exists(preview_key(token)):
            world.made.append(token)
    return [one for one in found if one[0] in world.made]


async def _unviewed(world: World, number: int) -> None:
    await _preview(world, "done", created_at=datetime.now(UTC) - timedelta(days=60))


async def _sweep(world: World, database: Database, _: int) -> None:
    await PreviewSweep(database, SweepSettings()).sweep()


async def _ended(world: World, number: int) -> None:
    token = new_share_token()
    world.made.append(token)
    await _insert(world, "ended_lists", {"wishlist_id": uuid4(), "share_tokens": [token]})


async def _end(world: World, database: Database, _: int) -> None:
    async with Redis.from_url(RedisSettings().url) as redis:
        outbox = EndedListOutbox(redis, ApiSettings())
        await OutboxWorker(outbox, database).round()
        await outbox.close()


async def _buried(world: World) -> list[tuple[str, int]]:
    if await world.lab.pool.fetchval("SELECT count(*) FROM ended_lists"):
        return []
    async with Redis.from_url(RedisSettings().url) as redis:
        return [(token, 1) for token in world.made if await redis.get(share_key(token)) == TOMBSTONE]


async def _unlisted(world: World, number: int) -> None:
    key = f"archive/{world.lab.kafka.events_topic}/{number}.avro"
    world.made.append(key)
    await world.store.put(key, b"never listed", "application/avro")


async def _sweep_archive(world: World, database: Database, _: int) -> None:
    settings = ArchiveSettings(prefix=f"archive/{world.lab.kafka.events_topic}/")
    await ArchiveSweep(database, world.store, settings).sweep(older_than=timedelta(0))


async def _removed(world: World) -> list[tuple[str, int]]:
    left = {one.key async for one in world.store.listing(f"archive/{world.lab.kafka.events_topic}/")}
    return [(key, 1) for key in world.made if key not in left]


async def _product(world: World, number: int) -> None:
    await _insert(world, "products", {"id": f"prod_new_{number}", "name": "Kettle", "price": number})


async def _refresh(world: World, database: Database, _: int) -> None:
    await ReferenceTables(database, _warehouse(world)).refresh()


def _warehouse(world: World) -> Warehouse:
    assert world.warehouse is not None
    return world.warehouse


async def _catalogued(world: World) -> list[tuple[str, int]]:
    warehouse = _warehouse(world)
    sql = f"SELECT product_id FROM `{warehouse.dataset}.products` WHERE product_id LIKE 'prod_new_%'"
    found = await asyncio.to_thread(warehouse.query, sql)
    return list(Counter(row["product_id"] for row in found).items())


# Rows of periodic jobs that failed wait for their next attempt.
_JOB_ROWS = _later("job_rows", "due_at")
_LEASED = _later("previews", "lease_until", "due_at")
JOBS = (
    Job(name="digests closed", prepare=_views, round=_close, later=(_later("digest_owners", "lease_until"),),
        done=_sql("SELECT id, (content->'totals'->>'views')::int FROM digests")),
    Job(name="digests sent", prepare=_digest, round=_send_digests, tells=True,
        later=(_later("digests", "lease_until", "due_at"),),
        done=_sql("SELECT id, 1 FROM digests WHERE state = 'sent'")),
    Job(name="pushes announced", prepare=_item, round=_announce, later=(_later("pushes", "lease_until", "due_at"),),
        done=_sql("""SELECT p.id, (SELECT count(*) FROM push_deliveries d WHERE d.push_id = p.id)
                     FROM pushes p WHERE p.state = 'told'""")),
    Job(name="pushes sent", prepare=_delivery, round=_send_pushes, tells=True,
        later=(_later("push_deliveries", "lease_until", "due_at"),),
        done=_sql("SELECT id, 1 FROM push_deliveries WHERE state = 'taken'"), calls=3),
    Job(name="webhooks called", prepare=_call, round=_send_calls, tells=True,
        later=(_later("webhooks", "lease_until", "due_at"), _later("webhook_deliveries", "lease_until", "due_at")),
        done=_sql("SELECT id, 1 FROM webhook_deliveries WHERE state = 'taken'")),
    Job(name="late calls given up", prepare=_late_call, round=_upkeep, calls=2,
        done=_sql("SELECT id, 1 FROM webhook_deliveries WHERE state = 'late'")),
    Job(name="expiries announced", prepare=_expired, round=_expire,
        done=_sql("""SELECT s.id, (SELECT count(*) FROM event_outbox o WHERE o.share_token = s.share_token)
                     FROM wishlist_shares s WHERE s.expired_at IS NOT NULL""")),
    Job(name="the outbox sent", prepare=_unsent, round=_relay, done=_sent),
    Job(name="previews rendered", prepare=_due, round=_render, tells=True, later=(_LEASED,),
        done=_sql("SELECT share_token, 1 FROM previews WHERE state = 'done'")),
    Job(name="cards drawn without a browser", prepare=_due, round=_draw, later=(_LEASED,),
        done=_sql("SELECT share_token, 1 FROM previews WHERE fallback = 'drawn'")),
    Job(name="pictures removed", prepare=_withdrawn, round=_purge, done=_purged, later=(_LEASED,), calls=3),
    Job(name="pictures given up", prepare=_unviewed, round=_sweep, calls=1,
        done=_sql("SELECT share_token, 1 FROM previews WHERE state = 'swept'")),
    Job(name="deleted lists' links ended", prepare=_ended, round=_end, done=_buried,
        later=(_later("ended_lists", "lease_until", "due_at"),)),
    Job(name="unlisted files removed", prepare=_unlisted, round=_sweep_archive, done=_removed),
    Job(name="the catalogue brought to BigQuery", prepare=_product, round=_refresh, done=_catalogued,
        needs_warehouse=True),
)  # fmt: skip
