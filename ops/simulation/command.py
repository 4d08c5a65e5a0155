"""``wishlist simulate``."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients.registry import open_codec
from config.settings import ApiSettings, AuthSettings, KafkaSettings, PostgresSettings, SegmentSettings, load
from ops.outages import give_up, outages_told
from ops.simulation import delivery, plan, world
from ops.simulation.sessions import MESSAGES_OF_A_SHARE, messages_of
from ops.tokens import NoSigningKey, signer
from ops.topics import brokers

console = Console()


class Way(StrEnum):
    """Where the simulated events go in."""

    TOPIC = "topic"
    API = "api"


def simulate(
    events: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many events.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed, size and end give the same events.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=365, help="Over how many days they are spread.")] = 14,
    until: Annotated[datetime | None, typer.Option(help="When the last one is; today's midnight by default.")] = None,
    clients: Annotated[
        bool, typer.Option(help="Also what the clients tell Segment's interface around the shares.")
    ] = True,
    through: Annotated[Way, typer.Option(help="Straight to the topic, or through the running API.")] = Way.TOPIC,
) -> None:
    """Make believable share events: people, lists and products first, then what they do."""
    end = (until or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)).replace(tzinfo=UTC)
    people = world.make(seed, events)
    story = plan.make(seed, events, end, days, people)
    if through is Way.TOPIC:
        with outages_told("Kafka"):
            brokers(load(KafkaSettings))
    with outages_told("PostgreSQL"):
        asyncio.run(_write_world(people, end))
    began = time.perf_counter()
    try:
        with _progress(events) as advance:
            if through is Way.API:
                api = load(ApiSettings)
                answers = asyncio.run(
                    delivery.through_api(story, f"http://{api.host}:{api.port}", signer(load(AuthSettings)), advance)
                )
            else:
                kafka = load(KafkaSettings)
                delivery.to_topic(story, kafka, open_codec(kafka), advance)
        if clients:
            # One after the other: those of ten million events do not fit into memory.
            sessions = messages_of(story, people)
            with _progress(MESSAGES_OF_A_SHARE * len(story.stories)) as advance:
                if through is Way.API:
                    key = next(iter(load(SegmentSettings).keys), "")
                    # Of the shares that it made the API says so itself.
                    others = (message for message in sessions if message.event != "share_completed")
                    base_url = f"http://{api.host}:{api.port}"
                    sent = asyncio.run(delivery.messages_through_api(others, base_url, key, advance))
                else:
                    sent = delivery.messages_to_topic(sessions, kafka, advance)
            console.print(f"{sent:,} messages of clients")
    except (NoSigningKey, delivery.DeliveryFailed) as error:
        raise give_up(str(error)) from None
    if through is Way.API:
        for (kind, status), count in sorted(answers.counts.items()):
            console.print(f"  {kind:<24}{status}  {count:>9,}")
    seconds = time.perf_counter() - began
    kinds = Counter(str(act.kind) for tale in story.stories for act in tale.acts)
    channels = Counter(str(tale.channel) for tale in story.stories)
    for title, counts in (("events", kinds), ("shares by channel", channels)):
        total = sum(counts.values())
        parts = ", ".join(f"{name} {count:,} ({count / total:.0%})" for name, count in counts.most_common())
        console.print(f"{title}: {parts}")
    console.print(f"{events:,} events in {seconds:.1f} s, seed {seed}, {len(people.owners):,} lists")


async def _write_world(people: world.World, end: datetime) -> None:
    connection = await asyncpg.connect(load(PostgresSettings).dsn, timeout=5)
    try:
        await world.write(connection, people, end)
    finally:
        await connection.close()


@contextmanager
def _progress(total: int) -> Iterator[delivery.Progress]:
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("events", total=total)
        yield lambda count: bar.advance(task, count)
