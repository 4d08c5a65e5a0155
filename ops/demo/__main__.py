"""Plays the spec's nine HTTP traces and eight weeks of a simulated shop, then shows what each consumer made of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import asyncpg
import httpx
from google.cloud import bigquery
from redis import Redis
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from clients.bigquery import Warehouse
from config.settings import (
    ApiSettings,
    AuthSettings,
    KafkaSettings,
    PostgresSettings,
    RedisSettings,
    WarehouseSettings,
)
from ops.demo import reconcile, shop
from ops.demo.story import Story
from ops.tokens import signer
from schemas.ids import share_id_for

console = Console(width=100, highlight=False)
_WAIT_SECONDS = 90
_GROUPS = (
    "share-store-wishlist-social",
    "preview-renderer-wishlist-social",
    "analytics-pipeline-wishlist-social",
    "analytics-pipeline-wishlist-segment",
)


async def main() -> int:
    """Play, show, check; returns the exit code."""
    api, kafka = ApiSettings(), KafkaSettings()
    base = f"http://{api.host}:{api.port}"
    # Maya may have used up her hour's shares in an earlier demo.
    Redis.from_url(RedisSettings().url).delete("rate:share_create:user_maya")
    connection = await asyncpg.connect(PostgresSettings().dsn)
    await connection.execute("UPDATE wishlist_items SET removed_at = NULL WHERE public_id = 'item_removed'")
    with httpx.Client(base_url=base, timeout=20) as http:
        story = Story(http, signer(AuthSettings()), console)
        console.print(Rule("[bold]The spec's traces, one after another[/]", align="left"))
        token = story.create()
        await connection.execute("UPDATE wishlist_items SET removed_at = now() WHERE public_id = 'item_removed'")
        story.view_page(token)
        story.look_up(token)
        story.add(token)
        second = story.reach_the_limit()
        story.revoke(second)
        story.revoked_page(second)
        story.unknown_list()
        story.foreign_list()
        console.print(Rule("[bold]What the consumers did[/]", align="left"))
        await _settled(connection, kafka, token)
        await _show_groups(connection, kafka)
        await _show_share(connection, token)
        _show_warehouse(token)
        _save_picture(http, token, base)
    console.print(Rule("[bold]Eight weeks of a simulated shop[/]", align="left"))
    await shop.open_for_weeks(connection, kafka, console)
    await _settled(connection, kafka, token)
    await _show_groups(connection, kafka)
    await shop.show_dashboard(_folder() / "dashboard.html", console)
    console.print(Rule("[bold]Does PostgreSQL hold what the topic holds?[/]", align="left"))
    differences = await reconcile.compare(connection, kafka, console)
    await connection.close()
    if story.surprises or differences:
        for surprise in [*story.surprises, *differences]:
            console.print(f"[red]✗ {surprise}[/]")
        return 1
    console.print("[green]✓ every answer as expected; every event of the topic is in PostgreSQL exactly once[/]")
    console.print("\ngo on with ./run status, ./run test, ./run wishlist --help; ./run down stops everything")
    return 0


async def _settled(connection: asyncpg.Connection, kafka: KafkaSettings, token: str) -> None:
    """Wait until every group is at the log's end and the share has its picture."""
    began = time.monotonic()
    with console.status("waiting for the consumers") as status:
        while time.monotonic() - began < _WAIT_SECONDS:
            lags = {group: (await _progress(connection, kafka, group))[1] for group in _GROUPS}
            done = await connection.fetchval("SELECT state = 'done' FROM previews WHERE share_token = $1", token)
            if done and not any(lags.values()):
                console.print(f"all caught up [dim]{time.monotonic() - began:.1f} s after the last request[/]")
                return
            status.update(f"waiting for the consumers: {sum(lags.values())} records to go")
            await asyncio.sleep(0.1)
    console.print(f"[yellow]not caught up within {_WAIT_SECONDS} s: see ./run logs persist and ./run logs preview[/]")


async def _progress(connection: asyncpg.Connection, kafka: KafkaSettings, group: str) -> tuple[int, int]:
    """How many records the group's topics have, and how many of them it has yet to apply."""
    topics = [kafka.events_topic, *([kafka.segment_topic] if group.endswith("-segment") else [])]
    ends = [await asyncio.to_thread(reconcile.log_ends, kafka, topic) for topic in topics]
    applied = await connection.fetchval(
        "SELECT coalesce(sum(next_offset), 0) FROM watermarks WHERE consumer_group = $1 AND topic = ANY($2::text[])",
        group,
        topics,
    )
    records = sum(sum(of_topic.values()) for of_topic in ends)
    return records, records - int(applied)


async def _show_groups(connection: asyncpg.Connection, kafka: KafkaSettings) -> None:
    table = Table("consumer group", "records in its topics", "applied", "lag", box=None, pad_edge=False)
    for group in _GROUPS:
        records, lag = await _progress(connection, kafka, group)
        table.add_row(group, f"{records:,}", f"{records - lag:,}", f"{lag:,}")
    console.print(table)
    letters = await connection.fetchval("SELECT count(*) FROM dead_letters")
    console.print(f"dead letters: {letters}")


async def _show_share(connection: asyncpg.Connection, token: str) -> None:
    row = await connection.fetchrow(
        """SELECT s.share_channel, s.view_count, s.raw_view_count, s.unique_viewers, s.items_added, s.is_revoked,
                  (SELECT string_agg(p.name || ' → ' || w.public_id, ', ') FROM wishlist_items i
                   JOIN products p ON p.id = i.product_id JOIN wishlists w ON w.id = i.wishlist_id
                   WHERE i.source_share_id = s.id) AS copied
           FROM wishlist_shares s WHERE share_token = $1""",
        token,
    )
    table = Table("wishlist_shares", "", box=None, pad_edge=False)
    for name, value in (row or {}).items():
        table.add_row(f"[dim]{name}[/]", str(value))
    console.print(table)


def _show_warehouse(token: str) -> None:
    """The share's rows in BigQuery."""
    warehouse = Warehouse(WarehouseSettings())
    rows = warehouse.query(
        f"""SELECT event_type, occurred_at, platform, is_bot, product_id
            FROM `{warehouse.dataset}.share_events_once`
            WHERE share_id = @share AND event_date > DATE '1970-01-01' ORDER BY occurred_at""",
        [bigquery.ScalarQueryParameter("share", "STRING", str(share_id_for(token)))],
    )
    table = Table("share_events in BigQuery", "occurred at", "platform", "program", "product", box=None, pad_edge=False)
    for row in rows:
        at = row["occurred_at"].strftime("%H:%M:%S.%f")[:-3]
        program = "yes" if row["is_bot"] else "no"
        table.add_row(row["event_type"], at, row["platform"], program, row["product_id"] or "")
    console.print(table)


def _folder() -> Path:
    folder = Path(os.environ["WISHLIST_STATE"]) / "demo"
    folder.mkdir(exist_ok=True)
    return folder


def _save_picture(http: httpx.Client, token: str, base: str) -> None:
    picture = http.get(f"/social/{token}/preview.png")
    path = _folder() / "preview.png"
    path.write_bytes(picture.content)
    console.print(f"the preview     {path} [dim]({len(picture.content) / 1000:.0f} KB)[/]")
    console.print(f"the shared page {base}/wishlists/shared/{token}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
