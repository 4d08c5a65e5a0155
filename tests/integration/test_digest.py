"""From counts to the queue: what a digest says, who gets none, and what faults do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from clients.faults import Unavailable
from clients.postgres import Database
from clients.queue import Message, NotificationQueue, Sent
from clients.unsubscribe import UnsubscribeLinks, Wish
from config.settings import DigestSettings, PostgresSettings, QueueSettings, UnsubscribeSettings
from ops.dead_letters import audit, row_changes
from ops.dead_letters.rows import parked as parked_rows
from ops.seed import key_of
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import new_share_token
from sinks.contract import Batch, Move, Partition
from sinks.digest import DigestCounts
from sinks.share_store import ShareStore
from streams.digests.closing import ClosingOutbox
from streams.digests.sending import DigestOutbox
from streams.outbox.worker import OutboxWorker
from tests.lab import event, open_database
from tests.notification_hub import take_all

PARTITION = Partition("events", UUID(int=7), 0)
MAYA = key_of("user_maya")
LINKS = UnsubscribeLinks(UnsubscribeSettings(), "https://vantage.com")
# Maya is in New York: her day closes at 13:00 UTC in summer.
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database(f"digest_{uuid4().hex[:12]}") as dsn:
        database = Database(PostgresSettings(dsn=dsn))
        yield database
        await (await database.pool()).close()


class World:
    """A digest agent without Kafka, whose clock is ours; its queue is real."""

    def __init__(self, database: Database, queue: QueueSettings) -> None:
        self.database, self.now = database, NOON
        self.sink, self.store = DigestCounts(database, "digest"), ShareStore(database, "store")
        self.closer = OutboxWorker(ClosingOutbox(database, DigestSettings(most_shares=2), lambda: self.now), database)
        self.queue = NotificationQueue(queue)
        self.settings = queue
        self.applied = 0

    async def happen(self, *events: ShareEvent) -> None:
        """Have both sinks apply *events*."""
        for sink in (self.store, self.sink):
            await sink.positions({PARTITION: 0})
            move = Move(PARTITION, self.applied, self.applied + len(events))
            await sink.apply(Batch((move,), events))
        self.applied += len(events)

    async def close(self, at: datetime) -> list[dict[str, Any]]:
        """Let the clock show *at*, close whose time has come, and return all digests, oldest first."""
        await self.closer.round()  # plans by the old clock
        self.now = at
        await self.closer.round()
        return [orjson.loads(row["content"]) for row in await self.rows()]

    async def rows(self) -> list[Any]:
        """The outbox."""
        return await (await self.database.pool()).fetch("SELECT * FROM digests ORDER BY local_date")

    def relay(self, queue: NotificationQueue | None = None) -> OutboxWorker:
        """A worker that sends to the queue."""
        outbox = DigestOutbox(DigestSettings(), queue or self.queue, LINKS, "https://vantage.com")
        return OutboxWorker(outbox, self.database)

    def received(self) -> list[dict[str, Any]]:
        """What the notification hub takes out of the queue."""
        return take_all(self.settings)


@pytest.fixture(params=[".fifo", ""], ids=["fifo", "standard"])
async def world(request: pytest.FixtureRequest, database: Database) -> World:
    world = World(database, QueueSettings(queue=f"digests-{uuid4().hex[:12]}{request.param}"))
    await world.queue.ensure()
    # The relay goes by PostgreSQL's clock; what was due by ours long ago is due.
    return world


def looked(token: str, who: str, **fields: Any) -> ShareEvent:
    """A person's view of one of Maya's shares."""
    plain = {"visitor_hash": who, "country": "DE", "share_channel": Channel.WHATSAPP, "timestamp": NOON}
    return event(EventType.VIEWED, token, **{**plain, **fields})


async def test_what_a_digest_says(world: World) -> None:
    first, second, third = (new_share_token() for _ in range(3))
    await world.happen(
        looked(first, "a"), looked(first, "a"), looked(first, "b", country="FR", share_channel=Channel.EMAIL),
        looked(second, "a"), looked(third, "c"), looked(third, "d"),
        looked(first, "robot", is_bot=True),
        event(EventType.ITEM_ADDED, second, product_id="prod_1a2b3c", recipient_user_id=key_of("user_recipient"),
              wishlist_item_id=uuid4(), recipient_wishlist_id=key_of("wl_recipient_001"), country="DE"),
        event(EventType.ITEM_ADDED, second, product_id="prod_1a2b3c", recipient_user_id=MAYA, wishlist_item_id=uuid4(),
              recipient_wishlist_id=key_of("wl_8a2b3c4d5e6f")),
    )  # fmt: skip
    [digest] = await world.close(NOON + timedelta(hours=1))
    assert (digest["date"], digest["user_id"], digest["name"]) == ("2026-06-01", "user_maya", "Maya C.")
    assert digest["totals"] == {"views": 6, "people": 5, "items_added": 1}
    assert digest["day_before"] is None
    assert digest["countries"] == [{"name": "DE", "views": 5}, {"name": "FR", "views": 1}]
    assert digest["channels"] == [{"name": "whatsapp", "views": 5}, {"name": "email", "views": 1}]
    assert [(share["views"], share["people"], share["title"]) for share in digest["shares"]] == [
        (3, 2, "Holiday Gift Ideas 2025"), (2, 2, "Holiday Gift Ideas 2025"),
    ]  # fmt: skip
    assert digest["more_shares"] == 1

    await world.happen(looked(first, "e"))
    [_, after] = await world.close(NOON + timedelta(days=1, hours=1))
    assert after["totals"]["views"] == 1
    assert after["day_before"] == digest["totals"]
    assert len(await world.close(NOON + timedelta(days=2, hours=1))) == 2, "nothing to say, nothing sent"


async def test_it_reaches_the_queue_once_with_its_letter(world: World) -> None:
    await world.happen(looked(new_share_token(), "a"))
    await world.close(NOON + timedelta(hours=1))
    assert await world.relay().round() == 1
    assert await world.relay().round() == 0
    [message] = world.received()
    [row] = await world.rows()
    assert (message["notification_id"], message["type"]) == (str(row["id"]), "wishlist_share_digest")
    assert message["email"]["subject"] == "Your wishlists: 1 view"
    assert "Good morning Maya C." in message["email"]["html"]
    link = message["email"]["headers"]["List-Unsubscribe"].strip("<>")
    assert LINKS.read(link.rpartition("/")[2]) == Wish("user_maya", "social", "digest")
    assert message["email"]["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


class LosesAnswers(NotificationQueue):
    """The queue takes the messages, and the answer is lost."""

    async def send(self, messages: Any) -> Sent:
        await super().send(messages)
        raise Unavailable("the queue", "no answer in time")


async def test_an_answer_that_is_lost_is_no_second_digest(world: World) -> None:
    await world.happen(looked(new_share_token(), "a"))
    await world.close(NOON + timedelta(hours=1))
    await world.relay(LosesAnswers(world.settings)).round()
    pool = await world.database.pool()
    await pool.execute("UPDATE digests SET due_at = now() - interval '1 second'")
    assert await world.relay().round() == 1
    ids = [message["notification_id"] for message in world.received()]
    assert len(set(ids)) == 1
    assert len(ids) == (1 if world.settings.is_fifo else 2), "a standard queue has both, under one id"
    [row] = await world.rows()
    assert row["state"] == "sent"


async def test_while_the_queue_is_away_digests_wait(world: World) -> None:
    await world.happen(looked(new_share_token(), "a"))
    await world.close(NOON + timedelta(hours=1))
    away = NotificationQueue(world.settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
    assert await world.relay(away).round() == 1
    [row] = await world.rows()
    assert (row["state"], row["attempts"]) == ("due", 1)
    assert row["due_at"] > datetime.now(UTC), "not at once again"


async def test_who_does_not_want_digests_gets_none_of_it(world: World) -> None:
    pool = await world.database.pool()

    async def want(enabled: bool) -> None:
        await pool.execute(
            """INSERT INTO notification_preferences VALUES ($1, 'social', 'digest', $2)
               ON CONFLICT (user_id, category, channel) DO UPDATE SET enabled = $2""",
            MAYA,
            enabled,
        )

    await world.happen(looked(new_share_token(), "a"))
    await world.close(NOON + timedelta(hours=1))
    await want(False)  # a second before it would be sent
    await world.relay().round()
    assert world.received() == []
    [row] = await world.rows()
    assert row["state"] == "dropped"
    await world.happen(looked(new_share_token(), "a"))
    assert len(await world.close(NOON + timedelta(days=1, hours=1))) == 1
    await want(True)
    await world.happen(looked(new_share_token(), "b"))
    [_, digest] = await world.close(NOON + timedelta(days=2, hours=1))
    assert digest["totals"]["views"] == 1, "what nobody wanted to hear of is not told later"
    assert await world.relay().round() == 1
    assert len(world.received()) == 1


async def test_down_over_nine(world: World) -> None:
    await world.happen(looked(new_share_token(), "a"))
    [digest] = await world.close(NOON + timedelta(hours=9))
    assert digest["date"] == "2026-06-01", "sent on return, the same local day"
    await world.happen(looked(new_share_token(), "a"))
    # Down over the second of June: at 01:00 of the third there is nothing to send yet…
    assert len(await world.close(datetime(2026, 6, 3, 5, tzinfo=UTC))) == 1
    # …and at nine it is in the third's.
    [_, digest] = await world.close(datetime(2026, 6, 3, 13, tzinfo=UTC))
    assert (digest["date"], digest["totals"]["views"]) == ("2026-06-03", 1)


async def test_an_owner_who_moves_hears_of_no_date_twice(world: World) -> None:
    pool = await world.database.pool()

    async def move(zone: str) -> None:
        await pool.execute("UPDATE users SET time_zone = $2 WHERE id = $1", MAYA, zone)
        await pool.execute("UPDATE digest_owners SET due_at = NULL")

    await move("Pacific/Kiritimati")
    await world.happen(looked(new_share_token(), "a"))
    # Nine in Kiritimati (+14) on the second is 19:00 UTC on the first.
    [digest] = await world.close(datetime(2026, 6, 1, 19, tzinfo=UTC))
    assert digest["date"] == "2026-06-02"
    await move("Etc/GMT+12")
    await world.happen(looked(new_share_token(), "b"))
    # There the first ends, and the second comes once more: its nine (21:00 UTC) is passed over.
    assert len(await world.close(datetime(2026, 6, 2, 21, tzinfo=UTC))) == 1
    [_, digest] = await world.close(datetime(2026, 6, 3, 21, tzinfo=UTC))
    assert (digest["date"], digest["totals"]["views"]) == ("2026-06-03", 1)


async def test_one_bad_owner_holds_up_nobody(world: World) -> None:
    pool = await world.database.pool()
    other = key_of("user_other")
    await pool.execute("UPDATE users SET time_zone = 'Mars/Olympus', locale = 'tlh', display_name = $2 WHERE id = $1",
                       MAYA, "نور <b>" + "x" * 200)  # fmt: skip
    many = [looked(new_share_token(), "a") for _ in range(300)]
    await world.happen(
        *many, looked(new_share_token(), "a", user_id=other), looked(new_share_token(), "a", user_id=uuid4())
    )
    digests = await world.close(NOON + timedelta(hours=23))
    assert {digest["user_id"]: digest["totals"]["views"] for digest in digests} == {"user_maya": 300, "user_other": 1}
    maya = next(digest for digest in digests if digest["user_id"] == "user_maya")
    assert maya["more_shares"] == 298
    while await world.relay().round():
        pass
    letters = {message["user_id"]: message["email"] for message in world.received()}
    assert letters.keys() == {"user_maya", "user_other"}
    assert "نور &lt;b&gt;" in letters["user_maya"]["html"]


async def many(world: World, owners: int) -> None:
    """As many owners with a digest to be sent, copies of Maya's."""
    await world.happen(looked(new_share_token(), "a"))
    await world.close(NOON + timedelta(hours=1))
    pool = await world.database.pool()
    await pool.execute(
        """WITH others AS (INSERT INTO users (public_id, display_name) SELECT 'other_' || n, 'Other'
                           FROM generate_series(2, $1::int) n RETURNING id, public_id)
           INSERT INTO digests (id, owner_id, local_date, content, due_at)
           SELECT gen_random_uuid(), o.id, d.local_date,
                  d.content || jsonb_build_object('user_id', o.public_id), now() - interval '1 minute'
           FROM others o, digests d""",
        owners,
    )
    await pool.execute("UPDATE digests SET due_at = now() - interval '1 minute'")


async def test_characters_that_sqs_refuses_travel_as_escapes(world: World) -> None:
    """XML's noncharacters, which PostgreSQL and JSON take: SQS, "SendMessage", lists what it takes."""
    odd = "U+FFFF \uffff U+FFFE \ufffe DEL \x7f C0 \x01\x1f C1 \x85 BOM \ufeff far \U0010ffff"
    await (await world.database.pool()).execute("UPDATE users SET display_name = $2 WHERE id = $1", MAYA, odd)
    await many(world, 3)
    while await world.relay().round():
        pass
    received = {message["user_id"]: message for message in world.received()}
    assert received.keys() == {"user_maya", "other_2", "other_3"}
    assert received["user_maya"]["digest"]["name"] == odd, "to the letter"


async def test_a_digest_that_the_queue_never_takes_costs_its_neighbours_nothing(world: World) -> None:
    await many(world, 25)
    pool = await world.database.pool()
    await pool.execute(
        """UPDATE digests SET content = content || jsonb_build_object('name', repeat('x', 2000000))
           WHERE owner_id = $1""",
        MAYA,
    )
    while await world.relay().round():
        pass
    assert {message["user_id"] for message in world.received()} == {f"other_{n}" for n in range(2, 26)}
    [parked] = await pool.fetch("SELECT owner_id, reason, attempts, parked_at FROM digests WHERE state = 'parked'")
    assert (parked["owner_id"], parked["attempts"]) == (MAYA, 1), "it is said so at once"
    assert "the queue takes" in parked["reason"]
    await pool.execute("UPDATE digests SET content = content || '{\"name\": \"short\"}' WHERE state = 'parked'")
    connection = await asyncpg.connect(world.database._settings.dsn)
    act = await audit.begin(connection, "redrive", "test", "redrive", 1)
    assert len((await row_changes.redrive(connection, act, await parked_rows(connection)))[0]) == 1
    await connection.close()
    await world.relay().round()
    assert [message["user_id"] for message in world.received()] == ["user_maya"]


async def test_large_digests_go_in_several_calls(world: World) -> None:
    await many(world, 10)
    await (await world.database.pool()).execute(
        "UPDATE digests SET content = content || jsonb_build_object('name', repeat('x', 20000))"
    )
    while await world.relay().round():
        pass
    assert len(world.received()) == 10, "together they are more than one call takes"
    assert {row["state"] for row in await world.rows()} == {"sent"}


async def test_the_queue_is_made_once() -> None:
    settings = QueueSettings(queue=f"digests-{uuid4().hex[:12]}.fifo")
    assert await NotificationQueue(settings).ensure()
    assert not await NotificationQueue(settings).ensure()
    taken = await NotificationQueue(settings).send([Message(str(uuid4()), "g", "{}") for _ in range(10)])
    assert (len(taken.taken), taken.refused) == (10, {})
