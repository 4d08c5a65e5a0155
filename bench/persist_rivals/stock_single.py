"""(c) A stock Faust agent with one transaction an event."""

from __future__ import annotations

import sys
from typing import Any

from bench.persist_rivals.common import decode, destination
from bench.persist_rivals.stock import TOPIC, app


@app.agent(app.topic(TOPIC))
async def persist(stream: Any) -> None:
    into = destination()
    async for event in stream.events():
        message = event.message
        await into.write(
            [decode(message.topic, message.partition, message.offset, int(message.timestamp * 1000), event.value)],
        )


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "--without-web", "-l", "warn"]
    app.main()
