"""Whatever happens in whatever order: PostgreSQL holds what the model in memory says (hypothesis' state machine).

Shares are made, looked at, taken from, switched, extended, revoked and expired; their events come late, twice, and
before their creation; the worker dies or freezes anywhere in a batch, its reader jumps back and ahead, expiries are
swept, what has passed is replayed. After every single step the store must be just what :mod:`tests.share_model` makes
of the records that the store's own watermarks or a replay have passed, and Kafka must not believe more than that.
:mod:`tests.persist_system` is what runs.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clients.log_ends import LogEnds
from clients.postgres import Database
from config.settings import ExpirySettings, KafkaSettings, PostgresSettings, StreamSettings
from ops.replay.job import Replays
from ops.replay.lane import Pace
from ops.replay.plan import Start
from ops.seed import PRODUCTS, WISHLISTS, key_of
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import first_wishlist_id_for, item_id_for, share_id_for, share_token_of, uuid7_at
from sinks.share_store import GROUP
from streams.shares.expiry import ExpirySweep
from tests.lab import CODEC, event, open_database
from tests.persist_system import Fate, Moment, System, placed
from tests.share_model import ShareModel, Shop

IS_LONG = "FAULT_MODEL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FAULT_MODEL_EXAMPLES", "4"))
STEPS = int(os.environ.get("FAULT_MODEL_STEPS", "30"))

BASE = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=3)
SHOP = Shop(frozenset(key_of(public_id) for public_id, *_ in WISHLISTS), frozenset(product for product, *_ in PRODUCTS))
ITEMS = [key_of(f"item_{name}") for name in ("abc123", "1a2b3c", "4d5e6f")]
LISTS = {"user_recipient": key_of("wl_recipient_001"), "user_new": first_wishlist_id_for(key_of("user_new"))}

minutes = st.integers(0, 3_000)  # two days and more, so that a visitor comes on several
late = st.sampled_from([False, False, True])
sizes = st.sampled_from([1, 2, 3, 7, 500])
# Over before anything happens, after it but before now, some day, never.
expiries = st.sampled_from([BASE + timedelta(minutes=10), BASE + timedelta(days=2, hours=8), BASE + timedelta(days=90)])
counts: Counter[str] = Counter()
numbers = count()


class World:
    """What all examples share: an event loop and a database."""

    def __init__(self, runner: asyncio.Runner, dsn: str) -> None:
        self.runner = runner
        self.dsn = dsn

    def system(self) -> System:
        """A system of its own for one example."""
        name = f"model_{os.getpid()}_{next(numbers)}"
        kafka = KafkaSettings(
            bootstrap_servers=KafkaSettings().bootstrap_servers,
            events_topic=f"{name}.events",
            dlq_topic=f"{name}.events.dlq",
            replication_factor=1,
            min_insync_replicas=1,
        )
        return System(kafka, self.dsn, f"{GROUP}-{name}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with asyncio.Runner() as runner:
        opened = open_database(f"model_{os.getpid()}")
        dsn = runner.run(opened.__aenter__())
        try:
            yield World(runner, dsn)
        finally:
            runner.run(opened.__aexit__(None, None, None))


class Sharing(RuleBasedStateMachine):
    """The steps."""

    shares = Bundle("shares")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.system = world.system()
        self.made: list[ShareEvent] = []
        self.held: list[ShareEvent] = []
        self.poison: list[bytes] = []
        self.swept: dict[UUID, datetime] = {}
        self.replayed: Counter[int] = Counter()  # the next offset of each partition, where a replay has been
        self.expiry: dict[str, datetime | None] = {}

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.world.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.do(self.system.open())

    # --- what people do ---------------------------------------------------------------------------------------

    def say(self, kind: EventType, share: str, minute: int, late: bool, **fields: Any) -> None:
        """An event of *share*, under ids that are the same in every run; *late*: it waits somewhere."""
        number = len(self.made)
        at = BASE + timedelta(minutes=minute)
        fields = {"expires_at": self.expiry[share], **fields}
        event_id = uuid7_at(int(at.timestamp() * 1_000), b"%d" % number)
        told = event(kind, share, timestamp=at, event_id=event_id, **fields)
        self.made.append(told)
        if late:
            self.held.append(told)
        else:
            self.do(self.system.producer.send(told))

    # Few shares, so that much happens to each.
    @precondition(lambda self: len(self.expiry) < 3)
    @rule(
        target=shares,
        minute=minutes,
        late=late,
        hidden=st.sets(st.sampled_from(ITEMS)),
        channel=st.sampled_from([Channel.EMAIL, Channel.COPY_LINK]),
        message=st.sampled_from([None, "for you"]),
        expires_at=st.none() | expiries,
    )
    def create(
        self, minute: int, late: bool, hidden: set[UUID], channel: Channel, message: str | None,
        expires_at: datetime | None,
    ) -> str:  # fmt: skip
        share = share_token_of(1 + len(self.expiry))
        self.expiry[share] = expires_at
        self.say(EventType.CREATED, share, minute, late, hidden_item_ids=tuple(sorted(hidden)), share_channel=channel,
                 message=message, variant="control")  # fmt: skip
        return share

    @rule(
        share=shares, minute=minutes, late=late, visitor=st.sampled_from([None, "a", "b"]), is_bot=st.booleans(),
        times=st.integers(1, 4), is_sent_again=st.booleans(),
    )  # fmt: skip
    def view(
        self, share: str, minute: int, late: bool, visitor: str | None, is_bot: bool, times: int, is_sent_again: bool
    ) -> None:
        """*is_sent_again*: an acknowledgement was lost, and both copies may be in one batch."""
        for _ in range(times):
            self.say(EventType.VIEWED, share, minute, late, visitor_hash=visitor, is_bot=is_bot)
        if is_sent_again:
            self.do(self.system.producer.send(self.made[-1]))

    @rule(
        share=shares,
        minute=minutes,
        late=late,
        product=st.sampled_from(["prod_1a2b3c", "prod_4d5e6f", "prod_of_no_catalogue"]),
        reader=st.sampled_from(sorted(LISTS)),
    )
    def add(self, share: str, minute: int, late: bool, product: str, reader: str) -> None:
        own = LISTS[reader]
        # The API says of every item that it makes a list, until the list is there.
        self.say(
            EventType.ITEM_ADDED, share, minute, late,
            recipient_user_id=key_of(reader), recipient_wishlist_id=own, product_id=product,
            wishlist_item_id=item_id_for(own, product, share_id_for(share)),
            created_wishlist=reader == "user_new" and own not in self.model().first_wishlists(),
        )  # fmt: skip

    @rule(share=shares, minute=minutes, late=late)
    def add_as_version_1_says_it(self, share: str, minute: int, late: bool) -> None:
        self.say(EventType.ITEM_ADDED, share, minute, late, recipient_user_id=key_of("user_recipient"))

    @rule(share=shares, minute=minutes, late=late, item=st.sampled_from(ITEMS), visible=st.booleans())
    def toggle(self, share: str, minute: int, late: bool, item: UUID, visible: bool) -> None:
        self.say(EventType.SETTINGS_CHANGED, share, minute, late, wishlist_item_id=item, item_visible=visible)

    @rule(share=shares, minute=minutes, late=late, expires_at=st.none() | expiries, is_snapshot=st.booleans())
    def change_settings(
        self, share: str, minute: int, late: bool, expires_at: datetime | None, is_snapshot: bool
    ) -> None:
        snapshot = tuple(ITEMS[:2]) if is_snapshot else None
        self.say(EventType.SETTINGS_CHANGED, share, minute, late, expires_at=expires_at, snapshot_item_ids=snapshot)

    @rule(share=shares, minute=minutes, late=late)
    def revoke(self, share: str, minute: int, late: bool) -> None:
        self.say(EventType.REVOKED, share, minute, late)

    @rule(share=shares, minute=minutes, late=late)
    def expire(self, share: str, minute: int, late: bool) -> None:
        self.say(EventType.EXPIRED, share, minute, late)

    @rule(share=shares, minute=minutes)
    def something_newer(self, share: str, minute: int) -> None:
        self.say(EventType.UNKNOWN, share, minute, late=False)

    @precondition(lambda self: self.expiry and len(self.expiry) < 4)
    @rule(minute=minutes)
    def share_a_list_that_is_gone(self, minute: int) -> None:
        share = share_token_of(1 + len(self.expiry))
        self.expiry[share] = None
        self.say(EventType.CREATED, share, minute, late=False, wishlist_id=key_of("wl_gone"))

    # --- how it travels ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99))
    def what_was_late_comes(self, which: int) -> None:
        self.do(self.system.producer.send(self.held.pop(which % len(self.held))))

    @precondition(lambda self: self.made)
    @rule(which=st.integers(0, 99))
    def something_comes_twice(self, which: int) -> None:
        self.do(self.system.producer.send(self.made[which % len(self.made)]))

    @rule()
    def poison_comes(self) -> None:
        value = b"poison %d" % len(self.poison)
        self.poison.append(value)
        self.do(self.system.producer.send_bytes(share_token_of(len(self.poison)), value, "poison"))

    @rule(size=sizes)
    def deliver(self, size: int) -> None:
        self.do(self.system.deliver(size))

    @rule(size=sizes, moment=st.sampled_from(Moment), batch=st.integers(1, 2))
    def crash(self, size: int, moment: Moment, batch: int) -> None:
        self.do(self.system.deliver(size, Fate(moment, batch)))

    # How many batches a delivery is made of is up to the broker, and with it who is frozen or dead: no rule's
    # precondition may ask for that, since hypothesis takes the same choices to lead to the same rules.

    @rule(size=sizes, moment=st.sampled_from([Moment.BEFORE, Moment.AFTER]), batch=st.integers(1, 2))
    def freeze(self, size: int, moment: Moment, batch: int) -> None:
        if len(self.system.frozen) < 2:
            self.do(self.system.deliver(size, Fate(moment, batch, frozen=True)))

    @rule(dies=st.booleans())
    def wake(self, dies: bool) -> None:
        if self.system.frozen:
            self.do(self.system.wake(dies))

    @rule()
    def die_idle(self) -> None:
        self.do(self.system.die_idle())

    @rule(partition=st.integers(0, 2), by=st.integers(-20, 3))
    def redeliver(self, partition: int, by: int) -> None:
        """The reader stands elsewhere than where it stopped: earlier, or with a hole."""
        if self.system.worker is None:
            return
        tp = self.system.tps[partition]
        end = sum(1 for where, *_ in self.system.log() if where == partition)
        mark = self.do(self.system.watermarks()).get(partition, 0)
        # A hole shows by what comes after it: the last record that waits is never left out.
        self.system.worker.jump(tp, max(0, min(mark + by, max(mark, end - 1))))

    @rule(relay_dies=st.booleans())
    def sweep(self, relay_dies: bool) -> None:
        """The sweep announces what has expired, once the store has all of the topic; the relay sends it."""
        self.do(self.system.deliver(500))
        due = self.model().due(datetime.now(UTC))
        self.swept |= due
        assert self.do(self._sweep()) == len(due)
        if relay_dies:
            self.do(self.system.relay_that_dies())
        self.do(self.system.relay())
        counts["swept"] += len(due)

    async def _sweep(self) -> int:
        database = Database(PostgresSettings(dsn=self.world.dsn))
        kafka = self.system.kafka
        sweep = ExpirySweep(
            database=database, codec=CODEC, ends=LogEnds(kafka), topic=kafka.events_topic, group=self.system.group,
            settings=ExpirySettings(grace_seconds=0),
        )  # fmt: skip
        pool = await database.pool()
        try:
            return await sweep.sweep()
        finally:
            await pool.close()

    @precondition(lambda self: self.made)
    @rule()
    def replay(self) -> None:
        """``wishlist replay persist``: what the store has applied goes through it once more.

        Of a partition of which it has applied nothing yet it gets all there is.
        """
        for partition, end in self.do(self._replay()).items():
            self.replayed[partition] = max(self.replayed[partition], end)
        counts["replayed"] += 1

    async def _replay(self) -> dict[int, int]:
        connection = await asyncpg.connect(self.world.dsn)
        suffix = self.system.group.removeprefix(GROUP)
        streams = StreamSettings(group_suffix=suffix)
        replays = Replays(connection, self.system.kafka, PostgresSettings(dsn=self.world.dsn), streams)
        try:
            job = await replays.plan("persist", Start(), datetime.now(UTC))
            if job.records:
                await replays.begin(job)
                await replays.run(job, Pace(1_000_000), lambda _: None)
            return {stretch.partition: stretch.end for stretch in job.stretches}
        finally:
            await connection.close()

    @rule(partition=st.integers(0, 2))
    def read_again_from_the_start(self, partition: int) -> None:
        """An operator sets a watermark back: all of it is read again by the group itself, and the ledger knows it."""
        self.do(self.system.deliver(500))
        self.do(self.system.die_idle())
        back = "UPDATE watermarks SET next_offset = 0 WHERE (consumer_group, partition) = ($1, $2)"
        self.do(self.system.rows(back, self.system.group, partition))
        self.do(self.system.deliver(3))

    # --- what must hold ---------------------------------------------------------------------------------------

    def model(self) -> ShareModel:
        marks = Counter(self.do(self.system.watermarks()))
        return ShareModel(SHOP, self.system.events(marks | self.replayed), self.swept)

    @invariant()
    def postgres_is_what_the_model_says(self) -> None:
        model, rows = self.model(), self.system.rows
        expected = model.shares()
        held = {row["id"]: dict(row) for row in self.do(rows("SELECT * FROM wishlist_shares"))}
        assert held.keys() == expected.keys()
        for share, row in expected.items():
            assert {name: held[share][name] for name in row} == row
        seen = self.do(rows("SELECT event_id FROM ledger WHERE consumer_group = $1", self.system.group))
        assert {row["event_id"] for row in seen} == model.ledger
        words = self.do(rows("SELECT share_id, item_id, visible FROM share_item_visibility"))
        assert {(row["share_id"], row["item_id"]): row["visible"] for row in words} == model.visibility()
        visits = self.do(rows("SELECT share_id, day, visitor_hash FROM share_visitors"))
        assert {(row["share_id"], row["day"].isoformat(), row["visitor_hash"]) for row in visits} == model.visitors()
        copies = self.do(
            rows(
                """SELECT id, wishlist_id, product_id, source_share_id FROM wishlist_items
                   WHERE source_share_id IS NOT NULL"""
            )
        )
        assert {row["id"]: tuple(row)[1:] for row in copies} == model.copied_items()

    @invariant()
    def kafka_is_never_ahead(self) -> None:
        committed = self.do(self.system.committed())
        marks = self.do(self.system.watermarks())
        assert all(offset <= marks.get(partition, 0) for partition, offset in committed.items()), (committed, marks)

    def teardown(self) -> None:
        if not self.system.is_open:
            return
        try:
            for told in self.held:
                self.do(self.system.producer.send(told))
            while self.system.frozen:
                self.do(self.system.wake())
            self.do(self.system.deliver(500))
            self.postgres_is_what_the_model_says()
            log = self.system.log()
            assert sum(self.do(self.system.watermarks()).values()) == len(log), "all of it is settled"
            assert self.do(self.system.committed()) == self.do(self.system.watermarks()), "and Kafka knows"
            expected = set().union(*(placed(log, value) for value in self.poison))
            assert self.system.dead_letters().keys() == expected, "nothing but poison is put aside"
        finally:
            counts.update(self.system.happened)
            counts["records"] += len(self.system.log())
            self.do(self.system.close())


@pytest.mark.timeout(3_600)
def test_whatever_happens_the_store_is_what_the_model_says(world: World) -> None:
    # A step takes real parts as long as a simple example takes a function: no time to make a failure smaller unasked.
    rounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[*Phase] if IS_LONG else [Phase.explicit, Phase.reuse, Phase.generate],
        derandomize=not IS_LONG,
        database=None,
    )
    counts.clear()
    run_state_machine_as_test(partial(Sharing, world), settings=rounds)  # type: ignore[arg-type]  # any factory will do
    print(dict(sorted(counts.items())))
    assert counts["settled"] and counts["records"], "something has happened"
