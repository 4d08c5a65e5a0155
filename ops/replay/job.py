"""One replay, from what it will read to its end. It is written down, so that one that was ended early can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from clients.postgres import Database
from clients.registry import open_codec
from config.settings import KafkaSettings, PostgresSettings, StreamSettings
from ops.replay import rebuild
from ops.replay.dead_letters import NewDeadLetters
from ops.replay.lane import Lane, Pace
from ops.replay.plan import Start, Stretch, TopicLog
from ops.replay.targets import Target, targets
from sinks.lanes import lane_of
from streams.application import topic_ids

# With less than this between it and the live store, a rebuild stops the live agent for the rest.
_CLOSE = 2_000
Watch = Callable[[Lane], object]


class Refused(ValueError):
    """A replay that would do what nobody wants; says which option is at fault, and what to do."""


@dataclass(frozen=True)
class Job:
    """A replay: into which sink, by which lane, what it reads."""

    id: str
    sink: str
    lane: str
    stretches: tuple[Stretch, ...]
    rebuilds: bool = False

    @property
    def records(self) -> int:
        """How many offsets it reads."""
        return sum(stretch.records for stretch in self.stretches)

    def as_row(self) -> tuple[Any, ...]:
        """Its columns in the table ``replays``."""
        return (
            self.id,
            self.sink,
            self.lane,
            orjson.dumps([asdict(one) for one in self.stretches]).decode(),
            self.rebuilds,
        )

    @classmethod
    def of(cls, row: asyncpg.Record) -> Job:
        """The job in *row*."""
        stretches = [Stretch(**{**one, "topic_id": UUID(one["topic_id"])}) for one in orjson.loads(row["stretches"])]
        return cls(row["id"], row["sink"], row["lane"], tuple(stretches), row["rebuilds"])


class Replays:
    """Plans replays and runs them, against the brokers and the database that the settings name."""

    def __init__(
        self, connection: asyncpg.Connection, kafka: KafkaSettings, postgres: PostgresSettings, streams: StreamSettings
    ) -> None:
        self._connection = connection
        self._kafka = kafka
        self._postgres = postgres
        self._streams = streams
        self._targets = targets()

    def target(self, sink: str) -> Target:
        """The sink by its agent's name; raises :class:`Refused`."""
        if sink not in self._targets:
            raise Refused(f"SINK: there is no {sink!r}. There are {', '.join(self._targets)}.")
        return self._targets[sink]

    async def plan(self, sink: str, start: Start, now: datetime, *, again: bool = False, rebuilds: bool = False) -> Job:
        """What a replay into *sink* from *start* reads. Raises :class:`Refused`."""
        target = self.target(sink)
        if target.reaches_people and not again:
            raise Refused(
                f"SINK: what is replayed into {sink} has passed, and is not told or drawn twice. "
                "--again has all of it happen once more."
            )
        if rebuilds and sink != "persist":
            raise Refused(f"--rebuild: {sink} cannot be built anew beside the live one; only persist can.")
        if rebuilds and start != Start():
            raise Refused("--rebuild: a store is built anew from the very beginning. Leave out --from.")
        group = target.group + self._streams.group_suffix
        name = f"{sink}-{now:%Y%m%dT%H%M%S}"
        stretches: list[Stretch] = []
        log, ids = TopicLog(self._kafka), topic_ids(self._kafka)
        try:
            for topic in target.topics(self._kafka):
                found, firsts = log.stretches(topic, ids(topic), start, await self._applied(group, topic))
                if rebuilds and any(firsts.values()):
                    raise Refused(f"--rebuild: {topic} has forgotten its beginning, and with it what it would build.")
                stretches += found
        finally:
            log.close()
        lane = group if rebuilds else f"{group}.{name}" if again else lane_of(group, name)
        return Job(name, sink, lane, tuple(stretches), rebuilds)

    async def begin(self, job: Job) -> None:
        """Write it down."""
        await self._connection.execute(
            "INSERT INTO replays (id, sink, lane, stretches, rebuilds) VALUES ($1, $2, $3, $4, $5)", *job.as_row()
        )

    async def unfinished(self, sink: str) -> Job:
        """The newest replay into *sink* that did not come to its end; raises :class:`Refused`."""
        row = await self._connection.fetchrow(
            "SELECT * FROM replays WHERE sink = $1 AND finished_at IS NULL ORDER BY started_at DESC LIMIT 1", sink
        )
        if row is None:
            raise Refused(f"--resume: no replay into {sink} was ended early.")
        return Job.of(row)

    async def run(self, job: Job, pace: Pace, watch: Watch) -> list[rebuild.Difference]:
        """Read all of it; *watch* gets each lane as it sets out. What a rebuild has changed, table by table."""
        if job.rebuilds:
            found = await self._rebuild(job, pace, watch)
        else:
            database = Database(self._postgres)
            await self._pass(job, database, pace, watch)
            await (await database.pool()).close()
            found = []
            for books in ("watermarks", "warehouse_owners"):
                await self._connection.execute(f"DELETE FROM {books} WHERE consumer_group = $1", job.lane)
        await self._connection.execute("UPDATE replays SET finished_at = now() WHERE id = $1", job.id)
        return found

    async def _pass(self, job: Job, database: Database, pace: Pace, watch: Watch) -> None:
        target = self.target(job.sink)
        codec = open_codec(self._kafka)
        size = {"max_batch_events": target.batch_events} if target.batch_events else {}
        lane = Lane(
            sink=target.make(database, job.lane),
            decode=target.decode(codec, target.group + self._streams.group_suffix),
            kafka=self._kafka,
            dead_letters=NewDeadLetters(self._kafka, database),
            settings=self._streams.model_copy(update=size),
            stretches=job.stretches,
            pace=pace,
        )
        watch(lane)
        await lane.run()

    async def _rebuild(self, job: Job, pace: Pace, watch: Watch) -> list[rebuild.Difference]:
        schema = rebuild.schema_of(job.id)
        await rebuild.make(self._connection, schema)
        database = Database(self._postgres, f"{schema}, public")
        try:
            behind = _CLOSE
            while behind >= _CLOSE:
                await self._pass(job, database, pace, watch)
                read, job = job.records, await self._up_to_live(job)
                behind = job.records - read
            async with self._connection.transaction():
                # From here to the end the live agent waits for its watermarks.
                job = await self._up_to_live(job, lock=True)
                await self._pass(job, database, pace, watch)
                found = await rebuild.take_over(self._connection, schema)
        finally:
            await (await database.pool()).close()
        await rebuild.drop(self._connection, schema)
        return found

    async def _up_to_live(self, job: Job, *, lock: bool = False) -> Job:
        """The same, to where the live agent stands by now; *lock*: and stays."""
        statement = """SELECT topic, topic_id, partition, next_offset FROM watermarks
                       WHERE consumer_group = $1 AND next_offset > 0 ORDER BY topic, partition"""
        rows = await self._connection.fetch(f"{statement} FOR UPDATE" if lock else statement, job.lane)
        begun = {(one.topic, one.partition): one.begin for one in job.stretches}
        return replace(
            job,
            stretches=tuple(
                Stretch(row["topic"], row["topic_id"], row["partition"],
                        begun.get((row["topic"], row["partition"]), 0), row["next_offset"])
                for row in rows
            ),
        )  # fmt: skip

    async def _applied(self, group: str, topic: str) -> Mapping[int, int]:
        rows = await self._connection.fetch(
            "SELECT partition, next_offset FROM watermarks WHERE (consumer_group, topic) = ($1, $2)", group, topic
        )
        return {row["partition"]: row["next_offset"] for row in rows}
