"""Builds the Faust app of one agent: its group, its transport, its health page."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import UUID

import faust
import uvloop
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from clients import logs
from clients.log_ends import LogEnds
from clients.periodic import JobBoard, every
from clients.postgres import Database
from clients.registry import open_codec
from config.settings import KafkaSettings, LogSettings, PostgresSettings, StreamSettings, load
from schemas.codec import Codec
from sinks.contract import Sink
from streams import health
from streams.decoding import dead_letter, placed_events, segment_messages, share_events
from streams.dlq import LARGEST_DEAD_LETTER, DeadLetterWriter
from streams.engine import Decode, Engine
from streams.progress import ProgressWatch
from streams.recovery import PatientTables
from streams.transport import BatchTransport


class AgentWorker(faust.Worker):
    """A worker that leaves our logging as it is, and draws nothing on the terminal."""

    def _setup_logging(self) -> None:
        self.spinner = None


class AgentApp(faust.App):
    """A Faust app whose transport delivers batches to an :class:`Engine`."""

    delivery: Engine
    board: JobBoard

    def job(self, run: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        """Decorator: *run* works beside the agent until cancelled. Should it end, it starts again after a pause."""
        name = f"{self.conf.id} {run.__name__}"

        async def supervised() -> None:
            await every(0.0, run, name=name, board=self.board)

        self.task(supervised)
        return run

    async def on_start(self) -> None:
        """Tell how it is from the beginning: Faust's own tasks wait until the sink has said where to read."""
        await super().on_start()
        settings = load(StreamSettings)
        assigned, ends = partial(_assigned, self.consumer), LogEnds(load(KafkaSettings)).of
        watch = ProgressWatch(self.delivery, assigned=assigned, ends=ends, settings=settings)
        watch.start()
        health.serve(self.delivery, watch, settings, self.board)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self, loop=self.loop)


def topic_ids(kafka: KafkaSettings) -> Callable[[str], UUID]:
    """A function that asks the brokers for a topic's id."""

    def ask(topic: str) -> UUID:
        # A client for each question, of which there are few: one that stays would go on asking a broker that has died.
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}, logger=logs.librdkafka)
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result(timeout=15)
        low, high = described.topic_id.get_least_significant_bits(), described.topic_id.get_most_significant_bits()
        return UUID(int=(high & (1 << 64) - 1) << 64 | low & (1 << 64) - 1)

    return ask


MakeSink = Callable[[Database, str], Sink]


def share_event_agent(name: str, group: str, make_sink: MakeSink, **batching: float) -> AgentApp:
    """The app of an agent that reads share events; what it cannot apply goes to the DLQ.

    *batching* are fields of :class:`config.settings.StreamSettings` for this agent alone.
    """
    kafka = load(KafkaSettings)
    return _with_dead_letters(name, group, make_sink, share_events, batching, kafka.events_topic)


def placed_event_agent(name: str, group: str, make_sink: MakeSink, **batching: float) -> AgentApp:
    """As :func:`share_event_agent`, for a sink that keeps where each record stands."""
    kafka = load(KafkaSettings)
    return _with_dead_letters(name, group, make_sink, placed_events, batching, kafka.events_topic)


def segment_agent(name: str, group: str, make_sink: MakeSink, **batching: float) -> AgentApp:
    """As :func:`share_event_agent`, for messages of the Segment interface and what share events say of themselves."""
    kafka = load(KafkaSettings)
    decode = partial(segment_messages, events_topic=kafka.events_topic)
    return _with_dead_letters(name, group, make_sink, decode, batching, kafka.segment_topic, kafka.events_topic)


def _with_dead_letters(
    name: str,
    group: str,
    make_sink: MakeSink,
    decode: Callable[[Codec, str], Decode],
    batching: Mapping[str, float],
    *topics: str,
) -> AgentApp:
    kafka, settings = load(KafkaSettings), load(StreamSettings).model_copy(update=dict(batching))
    group += settings.group_suffix
    engine = Engine(
        sink=make_sink(Database(load(PostgresSettings)), group),
        decode=decode(open_codec(kafka), group),
        dead_letters=DeadLetterWriter(kafka),
        settings=settings,
        topic_ids=topic_ids(kafka),
    )
    return build_app(name, group, engine, *topics)


def dead_letter_agent(name: str, group: str, make_sink: MakeSink) -> AgentApp:
    """The app of an agent that reads the DLQ. What it cannot keep stops it: there is no second DLQ."""
    kafka, settings = load(KafkaSettings), load(StreamSettings)
    group += settings.group_suffix
    engine = Engine(
        sink=make_sink(Database(load(PostgresSettings)), group),
        decode=dead_letter,
        dead_letters=None,
        settings=settings.model_copy(update={"max_event_bytes": LARGEST_DEAD_LETTER}),
        topic_ids=topic_ids(kafka),
    )
    return build_app(name, group, engine, kafka.dlq_topic)


def spare_records_the_collector() -> None:
    """Records live from their fetch to their write and hold no cycles: looking through all of them after every 700th
    took a quarter of a worker's time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def build_app(name: str, group: str, engine: Engine, *topics: str) -> AgentApp:
    """The app of the agent *name*: reads *topics* as *group*. Nothing connects before the worker starts."""
    kafka, settings = load(KafkaSettings), load(StreamSettings)
    logs.configure(name, load(LogSettings).level)
    # Faust's own option --loop comes when the app has taken a loop already, and changes nothing.
    uvloop.install()
    spare_records_the_collector()
    app = AgentApp(
        group,
        broker=[f"kafka://{server}" for server in kafka.bootstrap_servers.split(",")],
        value_serializer="raw",
        key_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=16,
        stream_wait_empty=False,
        broker_max_poll_records=settings.max_poll_records,
        broker_max_poll_interval=settings.max_poll_interval_seconds,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 4,
        broker_commit_interval=1.0,
        consumer_group_instance_id=settings.instance_id,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        Worker=AgentWorker,
        TableManager=PatientTables,
        worker_redirect_stdouts=False,
        store="memory://",
        # Faust insists on a folder; nothing of ours is kept in it.
        datadir=str(Path(gettempdir()) / "faust-wishlist"),
    )
    app.delivery = engine
    app.board = JobBoard()
    source = app.topic(*topics)

    @app.agent(source, name=name)
    async def deliver(stream: Any) -> None:
        await app.delivery.settle(stream, app.consumer.perform_seek)

    @app.task  # type: ignore[untyped-decorator]
    async def note_start() -> None:
        app.delivery.has_started = True

    return app


def _assigned(consumer: Any) -> Collection[TP]:
    """What the group has given to this worker; nothing before it has joined."""
    try:
        assigned: Collection[TP] = consumer.assignment()
    except ConsumerNotStarted:
        return ()
    return assigned
