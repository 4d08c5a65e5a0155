"""From events to a receiver: what webhooks are told, who is told nothing, and what faults do to it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from clients import webhooks
from clients.postgres import Database
from clients.webhook_call import WebhookCaller
from config.settings import PostgresSettings, WebhookSettings
from ops.seed import key_of
from schemas.event import EventType, ShareEvent
from schemas.ids import new_share_token, uuid7
from sinks.contract import Applied, Batch, Move, Partition
from sinks.webhook import WebhookQueue
from streams.outbox.worker import OutboxWorker
from streams.webhooks.calling import WebhookOutbox
from streams.webhooks.maintenance import WebhookMaintenance
from tests.lab import event, eventually, open_database, rows_read
from tests.webhook_receiver import Call, Receiver, open_receiver

PARTITION = Partition("events", UUID(int=7), 0)
MAYA, OTHER = key_of("user_maya"), key_of("user_other")
PATIENT = WebhookSettings(allow_private=True)
# Whoever fails is called again at once.
HASTY = PATIENT.model_copy(update={"longest_pause_seconds": 0.0})


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"webhook_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        yield database
        await (await database.pool()).close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as receiver:
        yield receiver


class World:
    """A webhook agent without Kafka; its receiver is real."""

    def __init__(self, database: Database, receiver: Receiver, open_things: AsyncExitStack) -> None:
        self.database, self.receiver, self.open_things = database, receiver, open_things
        self.sink = WebhookQueue(database, "webhook")
        self.applied = 0

    async def set(self, owner: UUID | None = MAYA, path: str = "/", **changes: Any) -> str:
        """Have *owner* called at the receiver's *path*; the secret."""
        pool = await self.database.pool()
        url = changes.get("url") or self.receiver.url(path)
        row = await pool.fetchrow(webhooks.SET, owner, url, webhooks.new_secret(), changes.get("rotate", False))
        self.receiver.secrets[path] = row["secret"]
        return str(row["secret"])

    async def shown(self, owner: UUID | None = MAYA) -> dict[str, Any] | None:
        """What the owner sees."""
        row = await (await self.database.pool()).fetchrow(webhooks.SHOW, owner)
        return None if row is None else webhooks.described(row)

    async def happen(self, *events: ShareEvent) -> Applied:
        """Have the sink apply *events*."""
        await self.sink.positions({PARTITION: 0})
        move = Move(PARTITION, self.applied, self.applied + len(events))
        self.applied += len(events)
        return await self.sink.apply(Batch((move,), events))

    async def relay(self, settings: WebhookSettings = HASTY) -> OutboxWorker:
        """A worker that calls."""
        caller = await self.open_things.enter_async_context(aclosing(WebhookCaller(settings)))
        return OutboxWorker(WebhookOutbox(settings, caller), self.database)

    async def states(self) -> Counter[str]:
        """How many deliveries there are in each state."""
        rows = await (await self.database.pool()).fetch("SELECT state FROM webhook_deliveries")
        return Counter(row["state"] for row in rows)

    async def pass_an_hour(self) -> None:
        """Have every pause be over an hour sooner."""
        pool = await self.database.pool()
        for table in ("webhooks", "webhook_deliveries"):
            await pool.execute(f"UPDATE {table} SET due_at = due_at - interval '1 hour'")

    async def wait_seconds(self) -> list[float]:
        """How long webhook and deliveries wait yet."""
        rows = await (await self.database.pool()).fetch(
            """SELECT extract(epoch FROM due_at - now())::float8 AS seconds FROM webhook_deliveries WHERE state = 'due'
               UNION ALL SELECT extract(epoch FROM due_at - now())::float8 FROM webhooks"""
        )
        return [row["seconds"] for row in rows]


@pytest.fixture
async def world(database: Database, receiver: Receiver) -> AsyncIterator[World]:
    async with AsyncExitStack() as open_things:
        yield World(database, receiver, open_things)


async def round_of(relay: OutboxWorker) -> int:
    """Make the calls that are due, one a webhook; how many that were."""
    return await relay.round()


async def all_rounds(relay: OutboxWorker, most: int = 100) -> None:
    for _ in range(most):
        if not await round_of(relay):
            return
    raise AssertionError("it does not end")


async def soon(true: Callable[[], bool]) -> None:
    async def check() -> bool:
        return true()

    await eventually(check, 10, "what the receiver sees")


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("wishlist_webhooks_total", {"outcome": outcome}) or 0.0


def view(**fields: Any) -> ShareEvent:
    return event(EventType.VIEWED, **fields)


async def test_what_a_receiver_is_told(world: World) -> None:
    await world.set()
    token, item = new_share_token(), key_of("item_abc123")
    secrets = {
        "user_agent": "SecretAgent/7", "referrer": "https://secret.example/", "visitor_hash": "secret hash",
        "message": "secret words", "recipient_user_id": OTHER, "recipient_wishlist_id": uuid4(),
        "page_view_id": uuid7(),
    }  # fmt: skip
    private = {**secrets, "country": "DE", "platform": "ios", "timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    await (await world.database.pool()).execute("UPDATE webhooks SET enabled_at = '2026-01-01'")
    world.sink = WebhookQueue(world.database, "webhook", HASTY.model_copy(update={"latest_seconds": 1e9}))
    relay = await world.relay(HASTY.model_copy(update={"give_up_seconds": 1e9}))
    expires = datetime(2026, 2, 1, tzinfo=UTC)
    added = uuid4()
    story = [
        event(EventType.CREATED, token, item_count=9, expires_at=expires, **private),
        view(token=token, **private),
        event(EventType.ITEM_ADDED, token, product_id="prod_1a2b3c", wishlist_item_id=added, **private),
        event(EventType.SETTINGS_CHANGED, token, wishlist_item_id=item, item_visible=False, **private),
        event(EventType.SETTINGS_CHANGED, token, expires_at=expires, snapshot_item_ids=(item,), **private),
        event(EventType.REVOKED, token, **private),
        event(EventType.EXPIRED, token, **private),
    ]
    assert await world.happen(*story) == Applied(7, 0)
    await all_rounds(relay)
    common: dict[str, object] = {"share_token": token, "wishlist_id": "wl_8a2b3c4d5e6f", "channel": "copy_link"}
    expected: list[tuple[str, dict[str, object]]] = [
        ("share.created", {"item_count": 9, "expires_at": "2026-02-01T00:00:00Z"}),
        ("share.viewed", {"country": "DE", "platform": "ios"}),
        ("share.item_added", {"country": "DE", "platform": "ios", "product_id": "prod_1a2b3c"}),
        ("share.settings_changed", {"item_id": "item_abc123", "item_visible": False}),
        ("share.settings_changed", {"expires_at": "2026-02-01T00:00:00Z", "snapshot": True}),
        ("share.revoked", {}),
        ("share.expired", {}),
    ]
    told = {call.body["data"].pop("event_id"): call.body for call in world.receiver.calls}
    assert [told[str(one.event_id)] for one in story] == [
        {"type": kind, "timestamp": "2026-01-02T03:04:05Z", "data": {**common, **more}} for kind, more in expected
    ]
    assert all(call.is_genuine for call in world.receiver.calls)
    assert {call.headers["content-type"] for call in world.receiver.calls} == {"application/json"}
    sent = json.dumps([[call.body, call.headers] for call in world.receiver.calls])
    assert not [name for name, value in {**secrets, "added": added}.items() if str(value) in sent]


async def test_who_is_told_what(world: World) -> None:
    await world.set(MAYA, "/maya")
    await world.set(None, "/shop")
    mine, others, gone = view(), view(user_id=OTHER), view(wishlist_id=uuid4())
    own_add = event(EventType.ITEM_ADDED, recipient_user_id=MAYA, product_id="prod_1a2b3c")
    done = await world.happen(mine, others, gone, own_add, view(is_bot=True), event(EventType.UNKNOWN))
    assert done == Applied(2, 4)
    await all_rounds(await world.relay())
    told = {
        path: {call.body["data"]["event_id"] for call in world.receiver.calls if call.path == path}
        for path in ("/maya", "/shop")
    }
    assert told == {"/maya": {str(mine.event_id)}, "/shop": {str(mine.event_id), str(others.event_id)}}
    assert all(call.is_genuine for call in world.receiver.calls)
    assert len({call.id for call in world.receiver.calls}) == 3


async def test_what_is_old_is_not_told_and_what_is_read_again_only_once(world: World) -> None:
    before = view()
    await world.set()
    fresh = view()
    pool = await world.database.pool()
    await world.happen(before, fresh, fresh)
    assert await world.states() == {"due": 1}
    await pool.execute("UPDATE webhooks SET enabled_at = now() - interval '9 days'")
    hour = timedelta(hours=1)
    old, young = (view(timestamp=datetime.now(UTC) - age) for age in (25 * hour, 23 * hour))
    await world.happen(old, young, fresh)
    assert await world.states() == {"due": 2}
    relay = await world.relay()
    await all_rounds(relay)
    await WebhookMaintenance(world.database, HASTY).round()
    await world.happen(young, fresh)
    await all_rounds(relay)
    assert [call.body["data"]["event_id"] for call in world.receiver.calls] == [
        str(young.event_id),
        str(fresh.event_id),
    ]


async def test_without_a_webhook_there_are_no_rows(world: World) -> None:
    await world.set()
    await (await world.database.pool()).execute(webhooks.REMOVE, MAYA)
    assert await world.happen(view(), view()) == Applied(0, 2)
    assert await world.states() == {}


async def test_a_failure_is_tried_again_under_the_same_id(world: World) -> None:
    says = iter([500, 503, 302, 204])
    world.receiver.says = lambda _: (next(says), {})
    await world.set()
    await world.happen(view())
    relay = await world.relay()
    await round_of(relay)
    shown = await world.shown()
    assert shown is not None
    assert (shown["failures_in_a_row"], shown["reason"], shown["last_success_at"]) == (1, "status 500", None)
    await all_rounds(relay)
    assert len(world.receiver.calls) == 4
    assert len(set(world.receiver.ids())) == 1
    assert all(call.is_genuine for call in world.receiver.calls)
    shown = await world.shown()
    assert shown is not None
    assert (shown["state"], shown["failures_in_a_row"], shown["reason"]) == ("active", 0, None)
    assert shown["last_success_at"]


@pytest.mark.parametrize(
    ("failures", "asked", "least", "most"),
    [
        (0, None, -1, 2),
        (3, None, -1, 16),
        (15, None, -1, 3_600),
        (0, "120", 115, 120),
        (0, "86400", 3_590, 3_600),
        (5, "1", 0, 64),
    ],
)
async def test_pauses(world: World, failures: int, asked: str | None, least: float, most: float) -> None:
    world.receiver.says = lambda _: (503, {"Retry-After": asked} if asked else {})
    await world.set()
    await world.happen(view())
    pool = await world.database.pool()
    await pool.execute("UPDATE webhooks SET failures = $1", failures)
    await pool.execute("UPDATE webhook_deliveries SET attempts = $1", failures)
    relay = await world.relay(PATIENT)
    await round_of(relay)
    assert [least <= seconds <= most for seconds in await world.wait_seconds()] == [True, True]
    # A random pause may be over by now.
    await pool.execute("UPDATE webhooks SET due_at = due_at + interval '10 seconds'")
    shown = await world.shown()
    assert shown is not None
    assert (shown["state"], bool(shown["paused_until"])) == ("paused", True)
    assert shown["failures_in_a_row"] == failures + 1
    await world.happen(view())
    assert await round_of(relay) == 0, "the webhook as a whole is paused"
    assert len(world.receiver.calls) == 1


async def test_twenty_failures_in_a_row_disable_it_until_it_is_set_again(world: World) -> None:
    world.receiver.says = lambda _: (500, {})
    before = {outcome: counted(outcome) for outcome in ("failed", "disabled", "dropped")}
    await world.set()
    await world.happen(*(view() for _ in range(30)))
    relay = await world.relay()
    await all_rounds(relay)
    assert len(world.receiver.calls) == 20
    assert await world.states() == {"dropped": 30}
    assert {outcome: counted(outcome) - value for outcome, value in before.items()} == {
        "failed": 20, "disabled": 1, "dropped": 30,
    }  # fmt: skip
    shown = await world.shown()
    assert shown is not None
    assert (shown["state"], shown["failures_in_a_row"], shown["reason"]) == ("disabled", 20, "status 500")
    missed = view()
    assert await world.happen(missed) == Applied(0, 1)
    world.receiver.says = lambda _: (204, {})
    await world.set()
    heard = view()
    await world.happen(missed, heard)
    await all_rounds(relay)
    assert [call.body["data"]["event_id"] for call in world.receiver.calls[20:]] == [str(heard.event_id)]
    assert (await world.shown() or {})["state"] == "active"


async def test_gone_disables_it_at_once(world: World) -> None:
    world.receiver.says = lambda _: (410, {})
    await world.set()
    await world.happen(view(), view())
    await all_rounds(await world.relay())
    assert len(world.receiver.calls) == 1
    assert await world.states() == {"dropped": 2}
    shown = await world.shown()
    assert shown is not None
    assert (shown["state"], shown["reason"]) == ("disabled", "status 410")


async def test_what_a_batch_leaves_at_a_disabled_webhook_is_dropped(world: World) -> None:
    await world.set()
    await world.happen(view())
    await (await world.database.pool()).execute("UPDATE webhooks SET disabled_at = now()")
    assert await round_of(await world.relay()) == 0
    await WebhookMaintenance(world.database, HASTY).round()
    assert await world.states() == {"dropped": 1}


async def test_an_event_that_the_receiver_dislikes_holds_up_nobody(world: World) -> None:
    await world.set()
    poison = view()

    def says(call: Call) -> tuple[int, dict[str, str]]:
        return (422 if call.body["data"]["event_id"] == str(poison.event_id) else 200), {}

    world.receiver.says = says
    relay = await world.relay(PATIENT)
    await world.happen(poison)
    await round_of(relay)
    for _ in range(30):
        await world.happen(view())
        await world.pass_an_hour()
        await all_rounds(relay)
    assert await world.states() == {"taken": 30, "due": 1}
    assert len([call for call in world.receiver.calls if says(call)[0] == 422]) > 20
    shown = await world.shown()
    assert shown is not None
    assert (shown["state"], shown["failures_in_a_row"], shown["reason"]) == ("paused", 1, "status 422")


async def test_a_slow_receiver_holds_up_none_but_itself(world: World) -> None:
    await world.set(MAYA, "/slow")
    await world.set(OTHER, "/quick")
    world.receiver.hold.clear()
    world.receiver.held_paths = frozenset({"/slow"})
    await world.happen(*(view() for _ in range(3)), *(view(user_id=OTHER) for _ in range(5)))
    relay = await world.relay()
    running = asyncio.create_task(relay.run())
    await soon(lambda: len(world.receiver.ids("/quick")) == 5 and len(world.receiver.ids("/slow")) == 1)
    await world.happen(view(user_id=OTHER))
    await soon(lambda: len(world.receiver.ids("/quick")) == 6)
    assert len(world.receiver.ids("/slow")) == 1
    idle = await (await world.database.pool()).fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    )
    assert idle == 0, "no transaction waits for a receiver"
    world.receiver.hold.set()
    await soon(lambda: len(world.receiver.calls) == 9)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await world.states() == {"taken": 9}


async def test_where_only_one_is_called_at_once_all_have_their_turn(world: World) -> None:
    await world.set(MAYA, "/much")
    await world.set(OTHER, "/little")
    await world.happen(*(view() for _ in range(10)), view(user_id=OTHER), view(user_id=OTHER))
    relay = await world.relay(HASTY.model_copy(update={"at_once": 1, "turn_seconds": 0.0}))
    for _ in range(4):
        await round_of(relay)
    assert sorted(call.path for call in world.receiver.calls) == ["/little", "/little", "/much", "/much"]
    await all_rounds(relay)
    assert await world.states() == {"taken": 12}


async def test_one_call_does_not_look_through_all_that_waits(world: World) -> None:
    await world.set()
    pool = await world.database.pool()
    await pool.execute(
        """INSERT INTO webhook_deliveries (id, webhook_id, body, happened_at, due_at)
           SELECT gen_random_uuid(), w.id, '{}', now() - interval '1 hour', now() - n * interval '1 second'
           FROM webhooks w, generate_series(1, 5000) n"""
    )
    await pool.execute("ANALYZE webhooks, webhook_deliveries")
    async with pool.acquire() as connection, connection.transaction():
        before = await rows_read(connection, "webhook_deliveries")
        row = await connection.fetchrow(WebhookOutbox.claim_sql, "us", 60.0, 100, 86_400.0)
        assert row["attempts"] == 1
        assert await rows_read(connection, "webhook_deliveries") - before < 10


async def test_two_relays_call_each_webhook_once_at_a_time(world: World) -> None:
    await world.set()
    await world.happen(*(view() for _ in range(40)))
    relays = [await world.relay(), await world.relay()]
    while (await world.states())["due"]:
        await asyncio.gather(*(round_of(relay) for relay in relays))
    assert world.receiver.most_at_once == 1
    assert len(world.receiver.ids()) == len(set(world.receiver.ids())) == 40


async def test_a_call_whose_outcome_nobody_noted_is_repeated_under_its_id(world: World) -> None:
    await world.set()
    await world.happen(view())
    world.receiver.hold.clear()
    dying = await world.relay()
    await dying.start_some()
    await soon(lambda: bool(world.receiver.calls))
    for task in dying._under_way:
        task.cancel()
    world.receiver.hold.set()
    relay, before = await world.relay(), counted("taken_over")
    assert await round_of(relay) == 0, "the lease holds"
    await (await world.database.pool()).execute("UPDATE webhooks SET lease_until = now() - interval '1 second'")
    await all_rounds(relay)
    assert len(world.receiver.ids()) == 2
    assert len(set(world.receiver.ids())) == 1
    assert counted("taken_over") - before == 1


async def test_a_relay_that_is_stopped_finishes_its_call(world: World) -> None:
    await world.set()
    await world.happen(view(), view())
    world.receiver.hold.clear()
    running = asyncio.create_task((await world.relay()).run())
    await soon(lambda: bool(world.receiver.calls))
    running.cancel()
    await asyncio.sleep(0)
    world.receiver.hold.set()
    await asyncio.gather(running, return_exceptions=True)
    assert await world.states() == {"taken": 1, "due": 1}
    before = counted("taken_over")
    await all_rounds(await world.relay())
    assert len(set(world.receiver.ids())) == len(world.receiver.ids()) == 2
    assert counted("taken_over") == before


async def test_what_waits_goes_to_the_new_url_and_is_not_sent_once_the_webhook_is_gone(world: World) -> None:
    world.receiver.says = lambda call: (500 if call.path == "/old" else 204, {})
    await world.set(MAYA, "/old")
    await world.happen(view())
    relay = await world.relay(PATIENT)
    await all_rounds(relay)
    former = world.receiver.secrets["/old"]
    assert await world.set(MAYA, "/new") == former
    await all_rounds(relay)
    assert [(call.path, call.is_genuine) for call in world.receiver.calls] == [("/old", True), ("/new", True)]
    await world.happen(view(), view())
    await (await world.database.pool()).execute(webhooks.REMOVE, MAYA)
    await all_rounds(relay)
    assert len(world.receiver.calls) == 2
    assert await world.states() == {}


async def test_a_webhook_that_goes_away_during_a_call_is_called_no_more(world: World) -> None:
    await world.set()
    await world.happen(view(), view(), view())
    world.receiver.hold.clear()
    relay = await world.relay()
    await relay.start_some()
    await soon(lambda: bool(world.receiver.calls))
    await (await world.database.pool()).execute(webhooks.REMOVE, MAYA)
    world.receiver.hold.set()
    await relay.settle()
    assert len(world.receiver.calls) == 1


async def test_a_changed_secret_and_the_former_one_both_verify_for_a_day(world: World) -> None:
    former = await world.set()
    new = await world.set(rotate=True)
    assert new != former
    relay, pool = await world.relay(), await world.database.pool()
    for known in (former, new):
        world.receiver.secrets["/"] = known
        await world.happen(view())
        await all_rounds(relay)
    await pool.execute("UPDATE webhooks SET former_until = now() - interval '1 second'")
    world.receiver.secrets["/"] = former
    await world.happen(view())
    await all_rounds(relay)
    assert [call.is_genuine for call in world.receiver.calls] == [True, True, False]


async def test_what_is_too_late_is_given_up_and_what_is_settled_forgotten(world: World) -> None:
    await world.set()
    await world.happen(view(), view())
    pool = await world.database.pool()
    first = await pool.fetchval("SELECT min(id::text)::uuid FROM webhook_deliveries")
    await pool.execute("UPDATE webhook_deliveries SET happened_at = now() - interval '73 hours' WHERE id = $1", first)
    await all_rounds(await world.relay())
    assert len(world.receiver.calls) == 1
    upkeep = WebhookMaintenance(world.database, HASTY)
    await upkeep.round()
    assert await world.states() == {"late": 1, "taken": 1}
    await pool.execute("UPDATE webhook_deliveries SET happened_at = now() - interval '97 hours' WHERE id = $1", first)
    await upkeep.round()
    assert await world.states() == {"taken": 1}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_nothing_is_sent_to_an_address_that_is_not_public(world: World, host: str) -> None:
    """``localhost`` is a name that leads to this machine: as any name may, by its owner's will."""
    await world.set(url=f"https://{host}:{world.receiver.port}/")
    await world.happen(view())
    await round_of(await world.relay(WebhookSettings(allow_private=False)))
    assert world.receiver.connections == 0
    shown = await world.shown()
    assert shown is not None
    assert shown["failures_in_a_row"] == 1
    assert "is not at a public address" in shown["reason"]
