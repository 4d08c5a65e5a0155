"""(b) A stock Faust agent with ``take`` and the same SQL."""

from __future__ import annotations

import os
import sys
from typing import Any

import asyncpg

from bench.persist_rivals.common import decode, write
from bench.persist_rivals.stock import TOPIC, app


@app.agent(app.topic(TOPIC))
async def persist(stream: Any) -> None:
    pool = await asyncpg.create_pool(os.environ["POSTGRES_DSN"], min_size=1, max_size=2)
    async for batch in stream.take_events(2000, within=0.5):
        await write(
            pool,
            [
                decode(e.message.topic, e.message.partition, e.message.offset, int(e.message.timestamp * 1000), e.value)
                for e in batch
            ],
        )


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "--without-web", "-l", "warn"]
    app.main()
