"""(c) A stock Faust agent with one transaction an event."""

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
    async for event in stream.events():
        message = event.message
        await write(
            pool,
            [decode(message.topic, message.partition, message.offset, int(message.timestamp * 1000), event.value)],
        )


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "--without-web", "-l", "warn"]
    app.main()
