"""(b) A stock Faust agent with ``take`` and the same SQL."""

from __future__ import annotations

import sys
from typing import Any

from bench.persist_rivals.common import decode, destination
from bench.persist_rivals.stock import TOPIC, app


@app.agent(app.topic(TOPIC))
async def persist(stream: Any) -> None:
    into = destination()
    async for batch in stream.take_events(2000, within=0.5):
        await into.write(
            [
                decode(e.message.topic, e.message.partition, e.message.offset, int(e.message.timestamp * 1000), e.value)
                for e in batch
            ],
        )


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "--without-web", "-l", "warn"]
    app.main()
