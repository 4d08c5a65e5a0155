"""(d) Quix Streams with a batching sink and the same SQL, or the same appends."""

from __future__ import annotations

import asyncio
import os
from tempfile import gettempdir
from typing import Any

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.persist_rivals.common import decode, destination

_MOST = 2_000


class Batches(BatchingSink):  # quixstreams is installed for the bench only
    """Collects what one checkpoint brings and writes it in transactions of 2,000, or in appends of ours' size."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._into = destination()

    def write(self, batch: SinkBatch) -> None:
        self._loop.run_until_complete(self._write(batch))

    async def _write(self, batch: Any) -> None:
        for chunk in batch.iter_chunks(n=min(_MOST, self._into.batch)):
            await self._into.write(
                [decode(batch.topic, batch.partition, item.offset, item.timestamp, item.value) for item in chunk]
            )


if __name__ == "__main__":
    topic_name = os.environ["KAFKA_EVENTS_TOPIC"]
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=f"quix-{topic_name}{os.environ['STREAM_GROUP_SUFFIX']}",
        auto_offset_reset="earliest",
        commit_every=24_000,
        commit_interval=0.5,
        auto_create_topics=False,
        loglevel="WARNING",
        state_dir=gettempdir(),
    )
    topic = app.topic(topic_name, value_deserializer="bytes", key_deserializer="bytes")
    app.dataframe(topic).sink(Batches())
    app.run()
