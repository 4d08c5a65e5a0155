"""Every figure of the warehouse, against DuckDB's own count of the topics' bytes, after all that can go wrong.

``FAULT_NUMBERS=1000000`` events are the long form; with ``FAULT_AGENTS=warehouse`` it leaves Segment out. DuckDB reads
what Kafka holds by the Avro schema files and by JSON, with none of the product's code, and its queries are written anew
from what docs/analytics.md says.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from clients.bigquery import Warehouse
from ops.simulation import plan, world
from ops.simulation.events import events_of
from ops.simulation.sessions import messages_of
from schemas.segment import encode
from sinks import bigquery, segment
from tests.lab import Lab, eventually, open_lab

EVENTS = int(os.environ.get("FAULT_NUMBERS", "3000"))
AGENTS = {name: group for name, group in (("warehouse", bigquery.GROUP), ("segment", segment.GROUP))
          if name in os.environ.get("FAULT_AGENTS", "warehouse,segment").split(",")}  # fmt: skip
# Of the clients' messages; the system's own come with the events.
MESSAGES = max(10_000, EVENTS // 5)
KILLS = int(os.environ.get("FAULT_KILLS", "2"))
ROOT = Path(__file__).parent.parent.parent
END = datetime(2026, 11, 20, tzinfo=UTC)

_CREATED, _VIEWED, _ADDED = (
    "event_type = 'share_created'",
    "event_type = 'share_viewed'",
    "event_type = 'share_item_added'",
)
_HUMAN = f"{_VIEWED} AND NOT is_bot"
# View, its columns in order, and the same counted by DuckDB over e (events) and m (messages of clients and system).
COUNTS: dict[str, tuple[str, str]] = {
    "share_creation_daily": (
        "event_date, shares_created, sharing_users",
        f"SELECT day, count(*), count(DISTINCT user_id) FROM e WHERE {_CREATED} GROUP BY day",
    ),
    "share_conversion_daily": (
        "event_date, views, raw_views, unique_viewers, converting_views",
        f"""SELECT day, count(*) FILTER ({_HUMAN}), count(*) FILTER ({_VIEWED}),
                   count(DISTINCT (share_token, visitor_hash)) FILTER ({_HUMAN}),
                   count(DISTINCT (share_token, recipient_user_id)) FILTER ({_ADDED})
            FROM e WHERE {_VIEWED} OR {_ADDED} GROUP BY day""",
    ),
    "viral_coefficient_daily": (
        "event_date, new_wishlists, shares_with_views",
        f"""SELECT day, count(DISTINCT recipient_wishlist_id) FILTER ({_ADDED} AND created_wishlist),
                   count(DISTINCT share_token) FILTER ({_HUMAN})
            FROM e WHERE ({_VIEWED} OR {_ADDED}) AND NOT is_bot GROUP BY day""",
    ),
    "viral_coefficient": (
        "new_wishlists, shares_with_views",
        f"""SELECT count(DISTINCT recipient_wishlist_id) FILTER ({_ADDED} AND created_wishlist),
                   count(DISTINCT share_token) FILTER ({_HUMAN}) FROM e""",
    ),
    "productive_shares_per_user": (
        "productive_shares, sharing_users",
        f"""SELECT count(DISTINCT share_token) FILTER (created_wishlist), count(DISTINCT user_id) FILTER ({_CREATED})
            FROM e""",
    ),
    "items_added_daily": (
        "event_date, items_added, shares_with_adds",
        f"SELECT day, count(*), count(DISTINCT share_token) FROM e WHERE {_ADDED} GROUP BY day",
    ),
    "items_added_by_share": (
        "COUNT(*), SUM(items_added), SUM(recipients), MAX(items_added)",
        f"""SELECT count(*), sum(n), sum(people), max(n) FROM (
                SELECT count(*) FILTER ({_ADDED}) AS n, count(DISTINCT recipient_user_id) FILTER ({_ADDED}) AS people
                FROM e GROUP BY share_token)""",
    ),
    "share_channel_distribution": (
        "event_date, share_channel, shares",
        f"SELECT day, share_channel, count(*) FROM e WHERE {_CREATED} GROUP BY day, share_channel",
    ),
    "geographic_distribution_daily": (
        "event_date, country, views, raw_views",
        f"SELECT day, country, count(*) FILTER (NOT is_bot), count(*) FROM e WHERE {_VIEWED} GROUP BY day, country",
    ),
    "share_link_lifespan": (
        "COUNT(*), COUNT(lifespan_hours), ROUND(SUM(lifespan_hours), 3), ROUND(SUM(raw_lifespan_hours), 3), SUM(views)",
        f"""SELECT count(*), count(last), round(sum(date_sub('microsecond', made, last)) / 3.6e9, 3),
                   round(sum(date_sub('microsecond', made, last_raw)) / 3.6e9, 3), sum(views)
            FROM (SELECT min(moment) FILTER ({_CREATED}) AS made, max(moment) FILTER ({_HUMAN}) AS last,
                         max(moment) FILTER ({_VIEWED}) AS last_raw, count(*) FILTER ({_HUMAN}) AS views
                  FROM e GROUP BY share_token)""",
    ),
    "revocation_daily": (
        "event_date, shares_created, shares_revoked",
        f"""SELECT day, count(*), count(*) FILTER (share_token IN (
                       SELECT share_token FROM e WHERE event_type = 'share_revoked'))
            FROM e WHERE {_CREATED} GROUP BY day""",
    ),
    "share_engagement_daily": (
        "event_date, share_channel, platform, shares_created, shares_viewed, raw_shares_viewed, "
        "items_added_from_shares",
        f"""SELECT day, share_channel, platform, count(*) FILTER ({_CREATED}), count(*) FILTER ({_HUMAN}),
                   count(*) FILTER ({_VIEWED}), count(*) FILTER ({_ADDED})
            FROM e WHERE {_CREATED} OR {_VIEWED} OR {_ADDED} GROUP BY day, share_channel, platform""",
    ),
    "shared_products_daily": (
        "event_date, product_id, times_shared, times_added_from_share",
        f"""SELECT day, product, sum(shared), sum(added) FROM (
                SELECT day, unnest(product_ids) AS product, 1 AS shared, 0 AS added FROM e WHERE {_CREATED}
                UNION ALL SELECT day, product_id, 0, 1 FROM e WHERE {_ADDED})
            GROUP BY day, product""",
    ),
    "top_shared_products": (
        "product_id, times_shared, times_added_from_share",
        f"""SELECT product, sum(shared) AS s, sum(added) AS a FROM (
                SELECT unnest(product_ids) AS product, 1 AS shared, 0 AS added FROM e WHERE {_CREATED}
                UNION ALL SELECT product_id, 0, 1 FROM e WHERE {_ADDED})
            GROUP BY product ORDER BY s DESC, a DESC, product LIMIT 20""",
    ),
    "share_funnel_daily": (
        "event_date, platform, share_channel, buttons_viewed, initiated, completed",
        """SELECT day, platform, share_channel, count(*) FILTER (event = 'share_button_viewed'),
                  count(*) FILTER (event = 'share_initiated'), count(*) FILTER (event = 'share_completed')
           FROM m WHERE event IN ('share_button_viewed', 'share_initiated', 'share_completed')
           GROUP BY day, platform, share_channel""",
    ),
    "share_link_clicked": (
        "COUNT(*), COUNT(DISTINCT share_token), COUNTIF(is_authenticated), COUNT(DISTINCT anonymous_id)",
        """SELECT count(*), count(DISTINCT share_token), count(*) FILTER (signed_in), count(DISTINCT who)
           FROM m WHERE event = 'share_link_clicked'""",
    ),
    "share_completed": (
        "COUNT(*), COUNT(DISTINCT share_token), SUM(item_count)",
        "SELECT count(*), count(DISTINCT share_token), sum(item_count) FROM m WHERE event = 'share_completed'",
    ),
    "identifies": (
        "COUNT(*), COUNT(DISTINCT user_id)",
        "SELECT count(*), count(DISTINCT who) FROM m WHERE kind = 'identify'",
    ),
}  # fmt: skip


@pytest.fixture
async def lab(tmp_path: Path, warehouse: Warehouse) -> AsyncIterator[Lab]:
    async with open_lab(tmp_path) as lab:
        lab.env |= {
            "BIGQUERY_DATASET": warehouse.settings.dataset,
            "BIGQUERY_BATCH_SECONDS": "0.5",
            "BIGQUERY_BATCH_EVENTS": "500" if EVENTS < 100_000 else "10000",
            "STREAM_RETRY_MAX_SECONDS": "1",
        }
        yield lab


@pytest.mark.timeout(max(300, EVENTS // 100))
async def test_every_figure_is_what_the_topics_bytes_say(lab: Lab, warehouse: Warehouse, tmp_path: Path) -> None:
    people = world.make(1, EVENTS)
    story = plan.make(1, EVENTS, END, 30, people)
    events, messages = list(events_of(story)), list(islice(messages_of(story, people), MESSAGES))
    for part in range(KILLS + 1):
        lab.produce_events(events[part :: KILLS + 1])
        lab.produce(
            [(str(message.user_id), encode(message)) for message in messages[part :: KILLS + 1]],
            lab.kafka.segment_topic,
        )
        workers = [lab.start(name, STREAM_INSTANCE_ID=f"{name}-1") for name in AGENTS]
        if part < KILLS:
            before = await everything_applied(lab)
            await moved_on(lab, before)
            await asyncio.sleep(random.Random(part).uniform(0, 1))
            for worker in workers:
                worker.kill()
                worker.wait()
    # Some of it once more: what a producer does whose acknowledgement is lost.
    lab.produce_events(events[::5])
    lab.produce([(str(message.user_id), encode(message)) for message in messages[::5]], lab.kafka.segment_topic)
    await all_applied(lab, lab.env["STREAM_GROUP_SUFFIX"])
    duck = count_bytes(lab, tmp_path)
    rows = await counted(warehouse, "share_events")
    assert rows == len(events), "one row for each event, by construction"
    await compare(warehouse, duck)

    # Now the whole topics into the same tables by groups that know nothing of the first: the views make it good.
    lab.stop_all()
    for name in AGENTS:
        lab.start(name, STREAM_GROUP_SUFFIX=f"{lab.env['STREAM_GROUP_SUFFIX']}-again")
    await all_applied(lab, f"{lab.env['STREAM_GROUP_SUFFIX']}-again")
    assert await counted(warehouse, "share_events") == 2 * len(events)
    await compare(warehouse, duck)


async def everything_applied(lab: Lab) -> list[int]:
    """How far each group has come."""
    suffix = lab.env["STREAM_GROUP_SUFFIX"]
    return [sum((await lab.watermarks(group + suffix)).values()) for group in AGENTS.values()]


async def moved_on(lab: Lab, before: list[int]) -> None:
    """Wait until each has come further than *before*."""

    async def further() -> bool:
        return all(now > then for now, then in zip(await everything_applied(lab), before, strict=True))

    await eventually(further, 120, "the agents apply something")


async def all_applied(lab: Lab, suffix: str) -> None:
    """Wait until every group has applied all there is."""
    within = max(240, EVENTS // 100)
    for group in AGENTS.values():
        await lab.applied(group + suffix, within)
    if "segment" not in AGENTS:
        return
    ends = end_offsets(lab, lab.kafka.segment_topic)

    async def reached() -> bool:
        marks = await lab.watermarks(segment.GROUP + suffix, lab.kafka.segment_topic)
        return all(marks.get(number, 0) >= end for number, end in ends.items())

    await eventually(reached, within, "every message is applied")


async def counted(warehouse: Warehouse, table: str) -> int:
    """Rows of *table*."""
    sql = f"SELECT COUNT(*) AS n FROM `{warehouse.dataset}.{table}` WHERE event_date > '1970-01-01'"
    [row] = await asyncio.to_thread(warehouse.query, sql)
    return int(row["n"])


async def compare(warehouse: Warehouse, duck: duckdb.DuckDBPyConnection) -> None:
    """Hold each view against DuckDB."""
    for view, (columns, sql) in COUNTS.items():
        if "FROM m" in sql and "segment" not in AGENTS:
            continue
        answer = f"SELECT {columns} FROM `{warehouse.dataset}.{view}`"
        found = [tuple(row.values()) for row in await asyncio.to_thread(warehouse.query, _named(answer, columns))]
        wanted = duck.execute(sql).fetchall()
        assert len(wanted) > 0
        assert sorted(map(_plain, found)) == sorted(map(_plain, wanted)), view


def _named(sql: str, columns: str) -> str:
    """*sql* with a name for each column that is computed."""
    if "(" not in columns:
        return sql
    parts = columns.replace(", 3)", "; 3)").split(", ")
    return sql.replace(columns, ", ".join(f"{part.replace(';', ',')} AS c{n}" for n, part in enumerate(parts)))


def _plain(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row)


def count_bytes(lab: Lab, folder: Path) -> duckdb.DuckDBPyConnection:
    """The topics' bytes as DuckDB's tables ``e`` and ``m``."""
    (folder / "e.json").write_text("\n".join(json.dumps(line) for line in _events(lab)))
    (folder / "m.json").write_text("\n".join(json.dumps(line) for line in _messages(lab)))
    duck = duckdb.connect()
    duck.execute(
        f"""CREATE TABLE e AS SELECT DISTINCT ON (event_id) *, moment::DATE AS day FROM read_json('{folder}/e.json',
                format = 'newline_delimited', columns = {{
                event_id: 'VARCHAR', event_type: 'VARCHAR', moment: 'TIMESTAMP', share_token: 'VARCHAR',
                share_channel: 'VARCHAR', platform: 'VARCHAR', country: 'VARCHAR', is_bot: 'BOOLEAN',
                visitor_hash: 'VARCHAR', user_id: 'VARCHAR', recipient_user_id: 'VARCHAR', product_id: 'VARCHAR',
                product_ids: 'VARCHAR[]', recipient_wishlist_id: 'VARCHAR', created_wishlist: 'BOOLEAN',
                page_view_id: 'VARCHAR', is_authenticated: 'BOOLEAN', item_count: 'BIGINT'}})"""
    )
    duck.execute(
        f"""CREATE TABLE m AS SELECT DISTINCT ON (id) *, moment::DATE AS day FROM (
                SELECT * FROM read_json('{folder}/m.json', format = 'newline_delimited', columns = {{
                    id: 'VARCHAR', kind: 'VARCHAR', event: 'VARCHAR', moment: 'TIMESTAMP', platform: 'VARCHAR',
                    share_channel: 'VARCHAR', share_token: 'VARCHAR', who: 'VARCHAR', signed_in: 'BOOLEAN',
                    item_count: 'BIGINT'}})
                UNION ALL
                SELECT 'share_completed-' || share_token, 'track', 'share_completed', moment, platform, share_channel,
                       share_token, user_id, NULL, item_count FROM e WHERE {_CREATED}
                UNION ALL
                SELECT 'share_link_clicked-' || page_view_id, 'track', 'share_link_clicked', moment, platform,
                       share_channel, share_token, visitor_hash, is_authenticated, NULL FROM e WHERE {_HUMAN})"""
    )
    return duck


def _events(lab: Lab) -> Iterator[dict[str, Any]]:
    folder = ROOT / "schemas" / "avro"
    ids = json.loads((folder / "ids.json").read_text())
    schemas = {int(key): fastavro.parse_schema(json.loads((folder / ids[key]["file"]).read_text())) for key in ids}
    names = (
        "event_id", "event_type", "share_token", "share_channel", "platform", "is_bot", "visitor_hash", "user_id",
        "recipient_user_id", "product_id", "product_ids", "recipient_wishlist_id", "created_wishlist", "page_view_id",
        "is_authenticated", "item_count",
    )  # fmt: skip
    for value in values(lab, lab.kafka.events_topic):
        record: Any = fastavro.schemaless_reader(
            io.BytesIO(value[5:]), schemas[int.from_bytes(value[1:5], "big")], None
        )
        line = {name: record[name] for name in names}
        yield {**line, "moment": record["timestamp"].removesuffix("Z"), "country": record["metadata"]["country"]}


def _messages(lab: Lab) -> Iterator[dict[str, Any]]:
    for value in values(lab, lab.kafka.segment_topic):
        record = json.loads(value)
        said = record.get("properties", {})
        yield {
            "id": record["messageId"], "kind": record["type"], "event": record.get("event"),
            "moment": record["timestamp"].removesuffix("Z"), "platform": said.get("platform"),
            "share_channel": said.get("share_channel"), "share_token": said.get("share_token"),
            "who": record.get("userId"), "signed_in": said.get("is_authenticated"),
            "item_count": said.get("item_count"),
        }  # fmt: skip


def end_offsets(lab: Lab, topic: str) -> dict[int, int]:
    """Where each partition of *topic* ends."""
    consumer = Consumer({"bootstrap.servers": lab.kafka.bootstrap_servers, "group.id": "numbers"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in partitions
    }
    consumer.close()
    return ends


def values(lab: Lab, topic: str) -> Iterator[bytes]:
    """Every value of *topic*."""
    left = sum(end_offsets(lab, topic).values())
    consumer = Consumer(
        {"bootstrap.servers": lab.kafka.bootstrap_servers, "group.id": "numbers", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in end_offsets(lab, topic)])
    while left:
        for message in consumer.consume(10_000, timeout=10):
            assert message.error() is None, message.error()
            left -= 1
            yield message.value()
    consumer.close()
