"""(f) The limit: confluent-kafka and the destination's client; one batch is decoded while the last is written."""

from __future__ import annotations

import asyncio
import os

import uvloop
from confluent_kafka import Consumer

from bench.persist_rivals.common import decode, destination


async def main() -> None:
    """Consume, decode, write; offsets are left alone."""
    into = destination()
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
        messages = await asyncio.to_thread(consumer.consume, into.batch, 0.2)
        events = []
        for number, m in enumerate(messages):
            if number % 200 == 199:
                await asyncio.sleep(0)
            events.append(decode(m.topic(), m.partition(), m.offset(), m.timestamp()[1], m.value()))  # type: ignore[arg-type]
        if writing is not None:
            await writing
        writing = asyncio.create_task(into.write(events)) if events else None


if __name__ == "__main__":
    uvloop.run(main())
