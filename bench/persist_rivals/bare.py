"""(f) The limit: confluent-kafka and asyncpg with nothing between; one batch is decoded while the last is written."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import uvloop
from confluent_kafka import Consumer

from bench.persist_rivals.common import decode, write


async def main() -> None:
    """Consume, decode, write; offsets are left alone."""
    pool = await asyncpg.create_pool(os.environ["POSTGRES_DSN"], min_size=1, max_size=2)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": f"bare-{os.environ['KAFKA_EVENTS_TOPIC']}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["KAFKA_EVENTS_TOPIC"]])
    writing: asyncio.Task[None] | None = None
    while True:
        messages = await asyncio.to_thread(consumer.consume, 8000, 0.2)
        events = []
        for number, m in enumerate(messages):
            if number % 200 == 199:
                await asyncio.sleep(0)
            events.append(decode(m.topic(), m.partition(), m.offset(), m.timestamp()[1], m.value()))
        if writing is not None:
            await writing
        writing = asyncio.create_task(write(pool, events)) if events else None


if __name__ == "__main__":
    uvloop.run(main())
