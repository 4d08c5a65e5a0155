"""One replay, from what it will read to its end. It is written down, so that one that was ended early can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from clients.objects import ObjectStore
from clients.postgres import Database
from clients.registry import open_codec
from config.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings, StreamSettings, load
from ops import ledger
from ops.replay import rebuild
from ops.replay.dead_letters import NewDeadLetters
from ops.replay.from_archive import ArchiveSource, is_whole, oldest_of, stretch_of
from ops.replay.from_topic import TopicSource
from ops.replay.lane import Lane, Lanes, Pace, Source
from ops.replay.plan import Start, Stretch, TopicLog
from ops.replay.targets import Target, targets
from sinks import archive
from sinks.archive_files import ArchiveReader
from sinks.lanes import lane_of
from streams.application import topic_ids

# With less than this between it and the live store, a rebuild stops the live agent for the rest.
_CLOSE = 2_000
# The archive's own lane, beside that of the topics.
_ARCHIVE = "archive"
# Records that are fetched together, at least: a batch is made of what several partitions bring.
_FETCH = 2_000
Watch = Callable[[Lanes], object]


class Refused(ValueError):
    """A replay that would do what nobody wants; says which option is at fault, and what to do."""


@dataclass(frozen=True)
class Job:
    """A replay: into which sink, by which lane, what it reads.

    *archived* is what is read from the archive: what the topics have forgotten, which begin at *forgotten*.
    """

    id: str
    sink: str
    lane: str
    stretches: tuple[Stretch, ...]
    archived: Stretch | None = None
    since: datetime | None = None
    forgotten: Mapping[int, int] = field(default_factory=dict)
    rebuilds: bool = False

    @property
    def records(self) -> int:
        """How many records it reads, the logs' gaps included."""
        return sum(stretch.records for stretch in self.stretches) + (self.archived.records if self.archived else 0)


_JOB = TypeAdapter(Job)


class _PeopleRemoved(Exception):
    """A rebuild has outlived the list of removed users that it began with."""


class Replays:
    """Plans replays and runs them, against the brokers and the database that the settings name."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        kafka: KafkaSettings,
        postgres: PostgresSettings,
        streams: StreamSettings,
        workers: int = 1,
    ) -> None:
        """*workers*: so many write at once, each of partitions of its own."""
        self._connection = connection
        self._workers = workers
        self._kafka = kafka
        self._postgres = postgres
        self._streams = streams
        self._targets = targets()
        self._codec = open_codec(kafka)
        self._archive = archive.GROUP + streams.group_suffix
        self.refused = 0

    def target(self, sink: str) -> Target:
        """The sink by its agent's name; raises :class:`Refused`."""
        if sink not in self._targets:
            raise Refused(f"SINK: there is no {sink!r}. There are {', '.join(self._targets)}.")
        return self._targets[sink]

    async def plan(self, sink: str, start: Start, now: datetime, *, again: bool = False, rebuilds: bool = False) -> Job:
        """What a replay into *sink* from *start* reads. Raises :class:`Refused`."""
        target = self.target(sink)
        if rebuilds and target.shadow is None:
            raise Refused(f"--rebuild: {sink} is not built anew: {target.no_rebuild}")
        if target.reaches_people and not again:
            raise Refused(
                f"SINK: what is replayed into {sink} has passed, and is not told or drawn twice. "
                "--again has all of it happen once more."
            )
        if rebuilds and start != Start():
            raise Refused("--rebuild: a store is built anew from the very beginning. Leave out --from.")
        group = target.group + self._streams.group_suffix
        # Several may begin at once, of which each reads its own partitions.
        name = f"{sink}-{now:%Y%m%dT%H%M%S%f}"
        lane = group if rebuilds else f"{group}.{name}" if again else lane_of(group, name)
        stretches: list[Stretch] = []
        begins: dict[str, dict[int, int]] = {}
        log, ids = TopicLog(self._kafka), topic_ids(self._kafka)
        try:
            for topic in target.topics(self._kafka):
                found, begins[topic] = log.stretches(topic, ids(topic), start, await self._applied(group, topic))
                stretches += found
        finally:
            log.close()
        if rebuilds and target.reads_segment and any(begins[self._kafka.segment_topic].values()):
            raise Refused(
                f"--rebuild: {self._kafka.segment_topic} has forgotten its beginning, and is not archived: what is "
                f"built would be less than what is there. wishlist replay {sink} brings back what it still has."
            )
        job = Job(name, sink, lane, tuple(stretches), since=start.moment, rebuilds=rebuilds)
        if start.offsets is not None or sink == "archive":
            return job
        topic = self._kafka.events_topic
        return await self._with_archive(job, begins[topic], ids(topic), now)

    async def _with_archive(self, job: Job, begins: Mapping[int, int], topic_id: UUID, now: datetime) -> Job:
        """The same, with what the topic has forgotten."""
        topic = self._kafka.events_topic
        archived = await stretch_of(self._connection, self._archive, topic, job.since, begins, topic_id)
        if job.rebuilds and not await is_whole(self._connection, self._archive, topic, begins, topic_id):
            raise Refused(
                f"--rebuild: {topic} has forgotten its beginning, and the archive does not have all of it: what is "
                "built would be less than what is there. wishlist archive verify says what is missing."
            )
        if archived and not job.rebuilds and (job.since is None or job.since < now - ledger.KEEP):
            oldest = await oldest_of(self._connection, self._archive, topic)
            if oldest < now - ledger.KEEP:
                since = now - ledger.KEEP + timedelta(days=1)
                raise Refused(
                    f"--from: the archive goes back to {oldest:%Y-%m-%d}, and what is older than {ledger.KEEP.days} "
                    f"days would be counted twice. Begin with --from {since:%Y-%m-%d}, or build the store anew with "
                    "--rebuild."
                )
        return replace(job, archived=archived, forgotten=begins)

    async def claim(self, job: Job) -> None:
        """Keep other replays from a sink that is built anew, as long as the connection lives; raises :class:`Refused`.

        What they write while it is taken over would be lost, or be there twice. Between themselves they may be many.
        """
        lock = "pg_try_advisory_lock" if job.rebuilds else "pg_try_advisory_lock_shared"
        if not await self._connection.fetchval(f"SELECT {lock}(hashtext($1))", f"replay {job.sink}"):
            raise Refused(
                f"SINK: {job.sink} is being built anew, or another replay into it is under way, which a rebuild cannot "
                "have beside it. Wait for it to end."
            )

    async def begin(self, job: Job) -> None:
        """Write it down."""
        await self._connection.execute(
            "INSERT INTO replays (id, sink, lane, plan) VALUES ($1, $2, $3, $4)",
            job.id,
            job.sink,
            job.lane,
            _JOB.dump_json(job).decode(),
        )

    async def unfinished(self, sink: str) -> Job:
        """The newest replay into *sink* that did not come to its end; raises :class:`Refused`."""
        row = await self._connection.fetchrow(
            "SELECT plan FROM replays WHERE sink = $1 AND finished_at IS NULL ORDER BY started_at DESC LIMIT 1", sink
        )
        if row is None:
            raise Refused(f"--resume: no replay into {sink} was ended early.")
        return _JOB.validate_json(row["plan"])

    async def run(self, job: Job, pace: Pace, watch: Watch) -> list[rebuild.Difference]:
        """Read all of it; *watch* gets each lane as it sets out. What a rebuild has changed, table by table."""
        if job.rebuilds:
            found = await self._rebuild(job, pace, watch)
        else:
            database = Database(self._postgres)
            await self._pass(job, database, pace, watch)
            await (await database.pool()).close()
            found = []
            lanes = [job.lane, lane_of(job.lane, _ARCHIVE)]
            for books in ("watermarks", "warehouse_owners"):
                await self._connection.execute(f"DELETE FROM {books} WHERE consumer_group = ANY($1)", lanes)
        await self._connection.execute("UPDATE replays SET finished_at = now() WHERE id = $1", job.id)
        return found

    async def _pass(
        self, job: Job, database: Database, pace: Pace, watch: Watch, shadow: rebuild.Shadow | None = None
    ) -> None:
        """Through the archive, where the job needs it, and through the topics."""
        if job.archived is not None:
            store = ObjectStore(load(ObjectStoreSettings))
            source = ArchiveSource(
                reader=ArchiveReader(database, store, self._archive),
                codec=self._codec,
                group=self._group(job),
                stretch=job.archived,
                since=job.since,
                forgotten=job.forgotten,
                topic_id=topic_ids(self._kafka)(job.archived.topic),
            )
            archived = self._lane(job, source, lane_of(job.lane, _ARCHIVE), database, pace, shadow)
            await self._go([archived], watch)
        size = max(_FETCH, self._batch_events(job))
        shares = (job.stretches[own :: self._workers] for own in range(self._workers))
        sources = [TopicSource(self._kafka, share, size) for share in shares if share]
        await self._go([self._lane(job, source, job.lane, database, pace, shadow) for source in sources], watch)

    async def _go(self, lanes: Sequence[Lane], watch: Watch) -> None:
        side_by_side = Lanes(lanes)
        watch(side_by_side)
        await side_by_side.run()

    def _lane(
        self, job: Job, source: Source, lane: str, database: Database, pace: Pace, shadow: rebuild.Shadow | None
    ) -> Lane:
        target = self.target(job.sink)
        return Lane(
            source=source,
            sink=(shadow.sink if shadow else target.make)(database, lane),
            decode=target.decode(self._codec, self._group(job)),
            dead_letters=NewDeadLetters(self._kafka, database, self._count_refused),
            settings=self._streams.model_copy(update={"max_batch_events": self._batch_events(job)}),
            pace=pace,
        )

    def _count_refused(self) -> None:
        self.refused += 1

    def _batch_events(self, job: Job) -> int:
        return self.target(job.sink).batch_events or self._streams.max_batch_events

    def _group(self, job: Job) -> str:
        return self.target(job.sink).group + self._streams.group_suffix

    async def _rebuild(self, job: Job, pace: Pace, watch: Watch) -> list[rebuild.Difference]:
        await self._forget_older(job)
        schema, shadow = rebuild.schema_of(job.id), self._shadow(job)
        await rebuild.make(self._connection, schema, shadow)
        database, live = Database(self._postgres, f"{schema}, public"), Database(self._postgres)
        try:
            behind = _CLOSE
            while behind >= _CLOSE:
                await self._pass(job, database, pace, watch, shadow)
                reached, job = _reach(job), await self._up_to_live(job)
                behind = _reach(job) - reached
            async with self._connection.transaction():
                # From here to the end the live agent waits for its watermarks.
                await shadow.hold(self._connection, live, job.lane)
                job = await self._up_to_live(job, lock=True)
                await self._pass(job, database, pace, watch, shadow)
                if await self._somebody_was_removed(job):
                    raise _PeopleRemoved
                found = await shadow.take_over(self._connection, schema)
                await rebuild.remember(self._connection, schema, datetime.now(UTC))
        except _PeopleRemoved:
            await self._give_up(job)
            raise Refused(
                "--rebuild: people were removed meanwhile, whose rows may be in what was built. That is dropped, and "
                "the live store is as it was. Begin anew."
            ) from None
        finally:
            for pool in (database, live):
                await (await pool.pool()).close()
        await rebuild.drop(self._connection, schema, shadow)
        return found

    def _shadow(self, job: Job) -> rebuild.Shadow:
        make = self.target(job.sink).shadow
        assert make is not None
        return make(job.id)

    async def _forget_older(self, job: Job) -> None:
        """Drop the shadows of earlier rebuilds of the same sink that nobody went on with."""
        rows = await self._connection.fetch(
            """SELECT plan FROM replays WHERE sink = $1 AND id <> $2 AND finished_at IS NULL
               AND (plan->>'rebuilds')::boolean""",
            job.sink,
            job.id,
        )
        for row in rows:
            await self._give_up(_JOB.validate_json(row["plan"]))

    async def _give_up(self, job: Job) -> None:
        await rebuild.drop(self._connection, rebuild.schema_of(job.id), self._shadow(job))
        await self._connection.execute("UPDATE replays SET finished_at = now() WHERE id = $1", job.id)

    async def _somebody_was_removed(self, job: Job) -> bool:
        """Whether the shadow may hold what the sinks pass by since somebody was put on the list of removed users."""
        return bool(
            await self._connection.fetchval(
                """SELECT count(*) FROM removed_users
                   WHERE removed_at > (SELECT started_at FROM replays WHERE id = $1) - interval '1 minute'""",
                job.id,
            )
        )

    async def _up_to_live(self, job: Job, *, lock: bool = False) -> Job:
        """The same, to where the live agent stands by now; *lock*: and stays."""
        statement = """SELECT topic, topic_id, partition, next_offset FROM watermarks
                       WHERE consumer_group = $1 AND next_offset > 0 ORDER BY topic, partition"""
        rows = await self._connection.fetch(f"{statement} FOR UPDATE" if lock else statement, job.lane)
        begins = {(one.topic, one.partition): one.begin for one in job.stretches}
        stretches = []
        for row in rows:
            topic, partition = row["topic"], row["partition"]
            forgotten = job.forgotten if topic == self._kafka.events_topic else {}
            begin = begins.get((topic, partition), forgotten.get(partition, 0))
            stretches.append(Stretch(topic, row["topic_id"], partition, begin, row["next_offset"]))
        return replace(job, archived=None, stretches=tuple(stretches))

    async def _applied(self, group: str, topic: str) -> Mapping[int, int]:
        rows = await self._connection.fetch(
            "SELECT partition, next_offset FROM watermarks WHERE (consumer_group, topic) = ($1, $2)", group, topic
        )
        return {row["partition"]: row["next_offset"] for row in rows}


def _reach(job: Job) -> int:
    return sum(stretch.end for stretch in job.stretches)
