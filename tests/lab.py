"""A laboratory for fault tests: a database and topics of its own, and workers that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen
from uuid import uuid4

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from config.settings import KafkaSettings, PostgresSettings
from ops import migrations, topics
from ops.seed import key_of, seed
from schemas.codec import Codec, Origin, load_schemas
from schemas.event import Channel, EventType, ShareEvent
from schemas.ids import new_share_token, share_id_for, uuid7
from sinks.share_store import GROUP
from tests.own_services import OwnServices
from tests.worker import Process, Worker

ROOT = Path(__file__).parent.parent
# Nobody listens there, while a port that is free may be another test's a moment later.
NOWHERE = "127.0.0.1:1"
CODEC = Codec(load_schemas())


def event_of(record: Message) -> ShareEvent:
    """The event in a record of the topic."""
    topic, partition, offset, value = record.topic(), record.partition(), record.offset(), record.value()
    assert topic is not None and partition is not None and offset is not None and value is not None, record.error()
    return CODEC.decode(value, Origin(topic, partition, offset, record.timestamp()[1]))


# Two tests at a time, and whatever else runs there, make a machine slow.
_PATIENCE = 3


def event(kind: EventType = EventType.CREATED, token: str | None = None, **changes: Any) -> ShareEvent:
    """An event about user_maya's list."""
    token = token or new_share_token()
    values: dict[str, Any] = {
        "event_type": kind,
        "wishlist_id": key_of("wl_8a2b3c4d5e6f"),
        "user_id": key_of("user_maya"),
        "share_token": token,
        "share_channel": Channel.COPY_LINK,
        "item_count": 9,
        "timestamp": datetime.now(UTC),
        "event_id": uuid7(),
        "share_id": share_id_for(token),
    }
    return ShareEvent(**{**values, **changes})


def story(count: int, seed_number: int = 1) -> list[ShareEvent]:
    """*count* events of count/50 shares: each is created, then viewed; every tenth share ends revoked."""
    dice = random.Random(seed_number)
    tokens = [new_share_token() for _ in range(max(1, count // 50))]
    start = datetime.now(UTC) - timedelta(days=1)
    events = []
    for number in range(count):
        token = tokens[number % len(tokens)]
        at = start + timedelta(milliseconds=number)
        if number < len(tokens):
            events.append(event(EventType.CREATED, token, timestamp=at))
        elif number >= count - len(tokens) and number % 10 == 0:
            events.append(event(EventType.REVOKED, token, timestamp=at))
        else:
            view = dice.randrange(500)
            events.append(event(EventType.VIEWED, token, timestamp=at, visitor_hash=f"v{view}", page_view_id=uuid7()))
    return events


@dataclass
class Lab:
    """One test's world."""

    kafka: KafkaSettings
    dsn: str
    env: dict[str, str]
    pool: asyncpg.Pool
    logs: Path
    workers: list[Process] = field(default_factory=list)
    log_files: list[Path] = field(default_factory=list)

    def produce(self, values: Iterable[tuple[str, bytes]], topic: str | None = None) -> None:
        """Append (key, value) pairs to *topic*, the events' by default, and wait for the broker."""
        # The application's limit of 1 MB holds for what the broker stores; librdkafka's own is lifted here so that
        # a compressible 5 MB value can be tried.
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "compression.type": "lz4",
                "linger.ms": 20,
                "message.max.bytes": 50_000_000,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        failures: list[Any] = []
        for key, value in values:
            producer.produce(
                topic or self.kafka.events_topic,
                value,
                key,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            producer.poll(0)
        producer.flush(120)
        assert not failures, failures[0]

    def produce_events(self, events: Iterable[ShareEvent]) -> None:
        """Append events in the newest schema."""
        self.produce((e.share_token, CODEC.encode(e)) for e in events)

    def start(self, agent: str = "persist", module: str = "streams", **env: str) -> Process:
        """Start one worker process; *module* is what runs the agent, unless it is a process of its own."""
        path = self.logs / f"{agent}-{len(self.workers)}.log"
        path.touch()  # a busy machine's process opens it late, and tests read it at once
        self.log_files.append(path)
        words = [module] if module == agent else [module, agent]
        process: Process
        if "PYTHONPATH" in env:
            # It has modules of its own to load.
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", *words], cwd=ROOT, env={**self.env, **env}, stdout=log, stderr=log
                )
        else:
            process = Worker(words, {**self.env, **env}, path)
        self.workers.append(process)
        return process

    def begin_wishlist(self, *words: str) -> subprocess.Popen[str]:
        """Start the operator's command, with a terminal's width; its output is one text."""
        return subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *words], cwd=ROOT, env={**self.env, "COLUMNS": "120"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    async def wishlist(self, *words: str, code: int = 0, within: float = 120) -> str:
        """What the operator's command says until it ends, with *code*."""
        process = self.begin_wishlist(*words)
        said, _ = await asyncio.to_thread(process.communicate, timeout=within)
        assert process.returncode == code, said
        assert "Traceback" not in said
        return said

    def stop_all(self) -> None:
        """Kill what still runs."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)

    def clock_off_by(self, hours: float) -> dict[str, str]:
        """Settings under which a process's clock is *hours* off."""
        path = f"{ROOT / 'tests' / 'other_clock'}{os.pathsep}{self.env['PYTHONPATH']}"
        return {"PYTHONPATH": path, "CLOCK_SHIFT_SECONDS": str(3_600 * hours)}

    async def watermarks(self, group: str, topic: str | None = None) -> dict[int, int]:
        """The sink's next offset of each partition of *topic*, the events' by default."""
        rows = await self.pool.fetch(
            "SELECT partition, next_offset FROM watermarks WHERE (consumer_group, topic) = ($1, $2)",
            group,
            topic or self.kafka.events_topic,
        )
        return {row["partition"]: row["next_offset"] for row in rows}

    def committed(self, group: str) -> dict[int, int]:
        """What Kafka believes that the group has done."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        partitions = asked[group].result(timeout=20).topic_partitions
        return {p.partition: p.offset for p in partitions if p.topic == self.kafka.events_topic and p.offset >= 0}

    def end_offsets(self, topic: str | None = None) -> dict[int, int]:
        """The log's end in each partition."""
        name = topic or self.kafka.events_topic
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "lab"})
        count = len(consumer.list_topics(name, timeout=10).topics[name].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(name, n), timeout=10)[1] for n in range(count)}
        consumer.close()
        return ends

    def dead_letters(self, expected: int, within: float = 30) -> list[tuple[dict[str, str], bytes | None]]:
        """Headers and value of each record in the DLQ, as soon as *expected* are there, or those there are then."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": f"lab-{uuid4()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.message.max.bytes": 50_000_000,
                "receive.message.max.bytes": 200_000_000,
            }
        )
        consumer.assign([TopicPartition(self.kafka.dlq_topic, n, 0) for n in range(3)])
        letters: list[tuple[dict[str, str], bytes | None]] = []
        deadline = time.monotonic() + within
        while len(letters) < expected and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                headers: dict[str, Any] = dict(message.headers() or ())
                letters.append(({k: v.decode() for k, v in headers.items()}, message.value()))
        consumer.close()
        return letters

    async def applied(self, group: str, within: float = 120) -> None:
        """Wait until *group*'s watermarks reach the log's end."""
        ends = {number: end for number, end in self.end_offsets().items() if end}

        async def reached() -> bool:
            marks = await self.watermarks(group)
            return all(marks.get(number, 0) >= end for number, end in ends.items())

        await eventually(reached, within, f"{group} at the end of the log")

    async def totals(self) -> dict[str, int]:
        """What the share store holds, added up."""
        row = await self.pool.fetchrow(
            """SELECT count(*) AS shares, coalesce(sum(view_count), 0) AS views,
                      coalesce(sum(raw_view_count), 0) AS raw, coalesce(sum(unique_viewers), 0) AS visitors,
                      coalesce(sum(items_added), 0) AS added,
                      count(*) FILTER (WHERE is_revoked) AS revoked
               FROM wishlist_shares"""
        )
        group = GROUP + self.env["STREAM_GROUP_SUFFIX"]
        ledger = await self.pool.fetchval("SELECT count(*) FROM ledger WHERE consumer_group = $1", group)
        return {**{key: int(value) for key, value in row.items()}, "ledger": ledger}

    async def checksums(self, *tables: str, only: Mapping[str, str] | None = None) -> dict[str, str]:
        """A digest of every table that the share store writes, or of *tables*; *only* some columns of these."""
        tables = tables or ("wishlist_shares", "share_item_visibility", "share_visitors", "wishlist_items")
        digest = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT {} FROM {}) t"
        return {table: await self.pool.fetchval(digest.format((only or {}).get(table, "*"), table)) for table in tables}


def expected_totals(events: list[ShareEvent]) -> dict[str, int]:
    """The totals that *events* must lead to, worked out without the product's code."""
    views = [e for e in events if e.event_type is EventType.VIEWED]
    return {
        "shares": len({e.share_token for e in events}),
        "views": len({e.event_id for e in views if not e.is_bot}),
        "raw": len({e.event_id for e in views}),
        "added": len({e.event_id for e in events if e.event_type is EventType.ITEM_ADDED}),
        "revoked": len({e.share_token for e in events if e.event_type is EventType.REVOKED}),
        "visitors": len({(e.share_token, e.timestamp.date(), e.visitor_hash) for e in views}),
        "ledger": len({e.event_id for e in events}),
    }


def health(port: str, path: str = "livez") -> tuple[int, str, str]:
    """A worker's status, state and reason; status 0 where nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            status, body = answer.status, json.load(answer)
    except HTTPError as error:
        status, body = error.code, json.load(error)
    except OSError:
        return 0, "", ""
    return status, body["status"], body["reason"] or ""


async def rows_read(connection: asyncpg.Connection | PoolConnectionProxy, table: str) -> int:
    """How many rows of *table* the transaction under way has looked at so far."""
    read = """SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int
              FROM pg_stat_xact_user_tables WHERE relname = $1"""
    return int(await connection.fetchval(read, table))


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


async def eventually(true: Callable[[], Any], within: float, what: str) -> None:
    """Wait until *true* says so: *within* so many seconds on a quiet machine, and thrice that on any."""
    deadline = time.monotonic() + _PATIENCE * within
    while not await true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_PATIENCE * within} s: {what}")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def open_database(name: str, server: str = "") -> AsyncIterator[str]:
    """The DSN of a fresh database with schema and development data, dropped at the end; *server*: not on the parts'."""
    base = server or PostgresSettings().dsn
    await _execute(base, f'CREATE DATABASE "{name}"')
    try:
        dsn = urlunsplit(urlsplit(base)._replace(path=f"/{name}"))
        connection = await asyncpg.connect(dsn)
        await migrations.migrate(connection)
        await seed(connection)
        await connection.close()
        yield dsn
    finally:
        await _execute(base, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def open_lab(logs: Path, brokers: str | None = None, own: OwnServices | None = None) -> AsyncIterator[Lab]:
    """A fresh database and fresh topics on the running parts.

    *brokers*: on these three, not on the one of theirs; *own*: with its PostgreSQL and its Redis.
    """
    name = f"lab_{uuid4().hex[:12]}"
    kafka = KafkaSettings(
        bootstrap_servers=brokers or KafkaSettings().bootstrap_servers,
        events_topic=f"{name}.events",
        dlq_topic=f"{name}.events.dlq",
        segment_topic=f"{name}.segment",
        replication_factor=3 if brokers else 1,
        min_insync_replicas=2 if brokers else 1,
    )
    list(topics.ensure(kafka))
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_REPLICATION_FACTOR": str(kafka.replication_factor),
        "KAFKA_MIN_INSYNC_REPLICAS": str(kafka.min_insync_replicas),
        "KAFKA_EVENTS_TOPIC": kafka.events_topic,
        "KAFKA_DLQ_TOPIC": kafka.dlq_topic,
        "KAFKA_SEGMENT_TOPIC": kafka.segment_topic,
        "STREAM_METRICS_PORT": "0",
        "STREAM_SESSION_TIMEOUT_SECONDS": "6",
        "STREAM_GROUP_SUFFIX": f"-{name}",
        **({"REDIS_URL": own.redis_url} if own else {}),
    }
    async with open_database(name, own.dsn if own else "") as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=3)
        lab = Lab(kafka, dsn, {**env, "POSTGRES_DSN": dsn}, pool, logs)
        try:
            yield lab
        finally:
            lab.stop_all()
            await pool.close()
    AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).delete_topics(
        [kafka.events_topic, kafka.dlq_topic, kafka.segment_topic]
    )
