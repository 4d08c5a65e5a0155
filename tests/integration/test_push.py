"""From an added item to the owner's devices, by the real protocols: who hears what, when, and who is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from clients import metrics
from clients.apns import ApnsGateway
from clients.fcm import FcmGateway
from clients.postgres import Database
from clients.push_gateway import PushGateway
from config.settings import ApnsSettings, FcmSettings, PostgresSettings, PushSettings
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.contract import Batch, Move, Partition
from sinks.push import PushQueue
from streams.outbox.worker import OutboxWorker
from streams.pushes.announcing import AnnouncementOutbox
from streams.pushes.sending import DeliveryOutbox
from tests.lab import event, eventually, open_database, rows_read
from tests.push_services import PushServices, device_token

PARTITION = Partition("events", UUID(int=7), 0)
MAYA = key_of("user_maya")
LISTS = "https://vantage.com/wishlists"
LIST = "wl_8a2b3c4d5e6f"


class World:
    """A push agent without Kafka, whose clock is ours; the services it reaches speak the real protocols."""

    def __init__(self, database: Database, services: PushServices, settings: PushSettings) -> None:
        self.database, self.services = database, services
        self.sink = PushQueue(database, "push", settings)
        self.now: datetime | None = None  # the true time
        self.announcer = OutboxWorker(AnnouncementOutbox(database, 1.0, self.clock), database)
        self.gateways: dict[str, PushGateway] = {
            "android": FcmGateway(FcmSettings()),
            "ios": ApnsGateway(ApnsSettings()),
        }
        self.relays = {
            platform: OutboxWorker(DeliveryOutbox(database, settings, platform, gateway, LISTS), database)
            for platform, gateway in self.gateways.items()
        }
        self.applied = 0

    def clock(self) -> datetime:
        """What the announcer takes for now."""
        return self.now or datetime.now(UTC)

    async def sql(self, statement: str, *arguments: Any) -> list[Any]:
        """What *statement* finds."""
        return list(await (await self.database.pool()).fetch(statement, *arguments))

    async def device(self, platform: str, user: UUID = MAYA, token: str | None = None) -> str:
        """A device of *user*: its token."""
        token = token or device_token("apns" if platform == "ios" else "fcm")
        await self.sql("INSERT INTO devices (user_id, platform, token) VALUES ($1, $2, $3)", user, platform, token)
        return token

    async def happen(self, *events: ShareEvent) -> None:
        """Have the sink apply *events*."""
        await self.sink.positions({PARTITION: 0})
        await self.sink.apply(Batch((Move(PARTITION, self.applied, self.applied + len(events)),), events))
        self.applied += len(events)

    async def send(self) -> None:
        """Announce what is due, and send all that is due then."""
        await self.announcer.round()
        for relay in self.relays.values():
            while await relay.round():
                pass

    async def due_now(self) -> None:
        """Nobody waits for a pause to pass."""
        await self.sql("UPDATE push_deliveries SET due_at = now() WHERE state = 'due'")

    async def bodies(self, token: str) -> list[str]:
        """What one device shows, oldest first."""
        return [one["body"] for one in await self.services.received(token)]

    async def states(self) -> list[str]:
        """What became of deliveries."""
        return [row["state"] for row in await self.sql("SELECT state FROM push_deliveries ORDER BY state")]


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"push_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        yield database
        await (await database.pool()).close()


@pytest.fixture
async def services() -> AsyncIterator[PushServices]:
    services = PushServices()
    yield services
    await services.close()


@pytest.fixture
async def world(database: Database, services: PushServices) -> AsyncIterator[World]:
    world = World(database, services, PushSettings(collapse_seconds=3600))
    # By no clock is it night.
    await world.sql("UPDATE users SET quiet_start = NULL, quiet_end = NULL")
    yield world
    for gateway in world.gateways.values():
        await gateway.close()


def added(product: str = "prod_1a2b3c", **fields: Any) -> ShareEvent:
    """Somebody else takes an item of Maya's list."""
    plain = {"recipient_user_id": key_of("user_recipient"), "product_id": product, "wishlist_item_id": uuid4()}
    return event(EventType.ITEM_ADDED, new_share_token(), **{**plain, **fields})


async def test_each_device_hears_at_once(world: World) -> None:
    phone, tablet = await world.device("ios"), await world.device("android")
    [product] = await world.sql("SELECT name FROM products WHERE id = 'prod_1a2b3c'")
    await world.happen(added())
    await world.send()
    for token in (phone, tablet):
        [shown] = await world.services.received(token)
        assert shown["title"] == "Holiday Gift Ideas 2025"
        assert shown["body"] == f"“{product['name']}” was added from your wishlist."
        assert shown["url"] == f"{LISTS}/{LIST}"
    deliveries = {str(row["id"]) for row in await world.sql("SELECT id FROM push_deliveries WHERE state = 'taken'")}
    assert {one["id"] for token in (phone, tablet) for one in await world.services.received(token)} == deliveries


async def test_views_bots_and_the_owners_own_adds_are_no_news(world: World) -> None:
    phone = await world.device("ios")
    await world.happen(added(recipient_user_id=MAYA), event(EventType.VIEWED), event(EventType.CREATED))
    await world.send()
    assert await world.bodies(phone) == []


async def test_what_happened_long_ago_is_no_news(world: World) -> None:
    phone = await world.device("ios")
    await world.happen(added(timestamp=datetime.now(UTC) - timedelta(days=2)))
    await world.send()
    assert await world.bodies(phone) == []


async def test_a_burst_is_two_pushes(world: World) -> None:
    phone = await world.device("ios")
    await world.happen(added())
    await world.send()
    for _ in range(3):
        await world.happen(added(), added("prod_other"))
        await world.send()
    assert len(await world.bodies(phone)) == 1, "the rest waits"
    await world.sql("UPDATE pushes SET due_at = now() WHERE state = 'due'")
    await world.send()
    assert (await world.bodies(phone))[1:] == ["6 items were added from your wishlist."]


async def test_nobody_is_woken(world: World) -> None:
    await world.sql(
        "UPDATE users SET quiet_start = $1, quiet_end = $2, time_zone = 'Asia/Tokyo' WHERE id = $3",
        time(22), time(8), MAYA,
    )  # fmt: skip
    phone = await world.device("ios")
    await world.happen(added())
    midnight = datetime.combine(datetime.now(UTC), time(15), UTC) + timedelta(days=1)
    world.now = midnight  # in Tokyo
    await world.send()
    await world.happen(added())
    assert await world.bodies(phone) == []
    world.now = midnight + timedelta(hours=8)
    await world.send()
    [said] = await world.bodies(phone)
    assert said.endswith("was added 2 times.")


@pytest.mark.parametrize("when", ["before", "announced"])
async def test_who_opts_out_a_moment_before_hears_nothing(world: World, when: str) -> None:
    phone = await world.device("ios")
    await world.happen(added())
    if when == "announced":
        await world.announcer.round()
    await world.sql(
        """INSERT INTO notification_preferences (user_id, category, channel, enabled)
           VALUES ($1, 'social', 'push', false)""",
        MAYA,
    )
    await world.send()
    assert await world.bodies(phone) == []
    assert await world.states() == (["dropped"] if when == "announced" else [])


async def test_a_device_that_changed_hands_gets_nothing_of_its_former_owners(world: World) -> None:
    phone = await world.device("ios")
    await world.happen(added())
    await world.announcer.round()
    await world.sql("UPDATE devices SET user_id = $1 WHERE token = $2", key_of("user_other"), phone)
    await world.send()
    assert await world.bodies(phone) == []
    assert await world.states() == ["dropped"]


async def test_what_waits_is_not_looked_through_for_each_push(world: World) -> None:
    await world.sql(
        """INSERT INTO users (public_id, display_name) SELECT 'owner_' || n, 'Owner' FROM generate_series(1, 1000) n"""
    )
    owners = "users u WHERE u.public_id LIKE 'owner\\_%'"
    await world.sql(f"INSERT INTO devices (user_id, platform, token) SELECT id, 'android', public_id FROM {owners}")
    await world.sql(
        f"""INSERT INTO pushes (owner_id, wishlist_id, items, happened_at, due_at, state, told_at)
            SELECT u.id, gen_random_uuid(), 1, now(), now(), 'told', now() FROM generate_series(1, 5), {owners}"""
    )
    await world.sql(
        """INSERT INTO push_deliveries (push_id, device_id, due_at)
           SELECT p.id, d.id, now() - random() * interval '5 minutes'
           FROM pushes p JOIN devices d ON d.user_id = p.owner_id"""
    )
    await world.sql("ANALYZE users, devices, pushes, push_deliveries")
    async with (await world.database.pool()).acquire() as connection, connection.transaction():
        before = await rows_read(connection, "push_deliveries")
        rows = await connection.fetch(DeliveryOutbox.claim_sql, "us", 60.0, 5, "android", 86_400.0)
        assert {row["unwanted"] for row in rows} == {None}
        assert len(rows) == 5
        assert await rows_read(connection, "push_deliveries") - before < 50


@pytest.mark.parametrize(
    ("platform", "service", "answer"),
    [
        ("ios", "apns", {"status": 410, "reason": "Unregistered"}),
        ("ios", "apns", {"status": 400, "reason": "BadDeviceToken"}),
        ("android", "fcm", {"status": 404, "reason": "UNREGISTERED"}),
    ],
)
async def test_a_dead_device_is_forgotten(world: World, platform: str, service: Any, answer: dict[str, Any]) -> None:
    dead, alive = await world.device(platform), await world.device(platform)
    await world.services.behave(service, dead, **answer)
    await world.happen(added())
    await world.send()
    assert [row["token"] for row in await world.sql("SELECT token FROM devices")] == [alive]
    assert len(await world.bodies(alive)) == 1
    assert await world.states() == ["taken"]


@pytest.mark.parametrize(("platform", "service"), [("ios", "apns"), ("android", "fcm")])
async def test_a_service_that_is_busy_is_left_alone_as_long_as_it_says(
    world: World, platform: str, service: Any
) -> None:
    phone = await world.device(platform)
    await world.services.behave(service, phone, status=503, reason="UNAVAILABLE", retry_after="120")
    await world.happen(added())
    await world.send()
    [row] = await world.sql("SELECT state, due_at - now() AS pause FROM push_deliveries")
    assert row["state"] == "due"
    assert timedelta(seconds=100) < row["pause"] <= timedelta(seconds=120)
    await world.due_now()
    await world.send()
    assert len(await world.bodies(phone)) == 1


@pytest.mark.parametrize(("platform", "service"), [("ios", "apns"), ("android", "fcm")])
async def test_a_lost_answer_repeats_under_the_same_id(world: World, platform: str, service: Any) -> None:
    phone = await world.device(platform)
    await world.services.behave(service, phone, cut="after")
    await world.happen(added())
    await world.send()
    await world.due_now()
    await world.send()
    shown = await world.services.received(phone)
    assert 1 <= len(shown) <= 2
    assert len({one["id"] for one in shown}) == len({one["collapse_id"] for one in shown}) == 1
    assert await world.states() == ["taken"]


async def test_a_device_that_hangs_holds_up_no_other(world: World) -> None:
    slow, quick = await world.device("ios"), await world.device("ios", key_of("user_other"))
    await world.services.behave("apns", slow, delay=5.0)
    await world.happen(added(), added(user_id=key_of("user_other"), wishlist_id=key_of("wl_other_user_list")))
    await world.announcer.round()
    await world.relays["ios"].start_some()

    async def heard() -> bool:
        return bool(await world.bodies(quick))

    await eventually(heard, 4, "the other device hears of it")
    assert await world.bodies(slow) == []
    await world.relays["ios"].settle()
    assert len(await world.bodies(slow)) == 1


async def test_bad_tokens_long_names_and_odd_zones_hold_up_nobody(world: World) -> None:
    novel, phone = await world.device("ios", token="It was the best of times " * 100), await world.device("ios")
    await world.sql(
        "UPDATE users SET time_zone = 'Mars/Olympus', locale = 'tlh', quiet_start = '00:00', quiet_end = '00:00'"
    )
    await world.sql("UPDATE wishlists SET title = $1 WHERE public_id = $2", "祝い🎁" * 50, LIST)
    await world.sql("UPDATE products SET name = $1 WHERE id = 'prod_1a2b3c'", "קומקום 🫖 " * 20)
    await world.happen(added())
    unknown = metrics.PUSHES.labels("unknown_zone")
    before = unknown._value.get()
    await world.send()
    assert unknown._value.get() == before + 1
    [shown] = await world.services.received(phone)
    assert shown["title"].startswith("祝い🎁")
    assert [row["token"] for row in await world.sql("SELECT token FROM devices")] == [phone], novel[:10]


async def test_an_owner_without_devices_is_nobody_to_wait_for(world: World) -> None:
    await world.happen(added(), added())
    await world.send()
    assert [row["state"] for row in await world.sql("SELECT state FROM pushes")] == ["told"]


async def test_two_workers_tell_each_device_once(world: World) -> None:
    phones = [await world.device("ios") for _ in range(30)]
    settings = PushSettings()
    gateway = ApnsGateway(ApnsSettings())
    second = OutboxWorker(DeliveryOutbox(world.database, settings, "ios", gateway, LISTS), world.database)
    await world.happen(added())
    other = OutboxWorker(AnnouncementOutbox(world.database, 1.0), world.database)
    await asyncio.gather(world.announcer.round(), other.round())
    for _ in range(3):
        await asyncio.gather(world.relays["ios"].start_some(), second.start_some())
        await asyncio.gather(world.relays["ios"].settle(), second.settle())
    await gateway.close()
    assert [len(await world.bodies(phone)) for phone in phones] == [1] * 30
