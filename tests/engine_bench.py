"""An engine on a log in memory: what the settle loop does, without brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiokafka.structs import ConsumerRecord
from faust.types import TP

from config.settings import StreamSettings
from sinks.contract import Retry
from streams.decoding import share_events
from streams.engine import Decode, Engine
from streams.transport import Fetched
from tests.lab import CODEC

TOPIC = "events"
QUICK = {"retry_base_seconds": 0.001, "retry_max_seconds": 0.002}


@dataclass
class MemoryDlq:
    """Stands where :class:`streams.dlq.DeadLetterWriter` does."""

    letters: list[tuple[bytes | None, Mapping[str, str]]] = field(default_factory=list)
    failures: int = 0

    async def write(self, key: bytes | None, value: bytes | None, headers: Mapping[str, str]) -> None:
        if self.failures:
            self.failures -= 1
            raise Retry("no broker")
        self.letters.append((value, headers))


class Log:
    """One topic in memory, with a reader that can be sought: what the transport is to the engine."""

    def __init__(self, partitions: int = 1) -> None:
        self.records: list[list[ConsumerRecord]] = [[] for _ in range(partitions)]
        self.position = [0] * partitions

    def append(self, partition: int, value: bytes) -> None:
        offset = len(self.records[partition])
        self.records[partition].append(
            ConsumerRecord(TOPIC, partition, offset, 1_757_000_000_000, 0, b"k", value, None, 1, len(value), ())
        )

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return {tp: len(self.records[tp.partition]) for tp in tps}

    def fetch(self, partition: int, size: int) -> Fetched | None:
        start = self.position[partition]
        taken = self.records[partition][start : start + size]
        if not taken:
            return None
        self.position[partition] = start + len(taken)
        return Fetched(TP(TOPIC, partition), start, start + len(taken), taken)


class Bench:
    """An engine on a log, run until the log is settled."""

    def __init__(
        self,
        sink: Any,
        *,
        partitions: int = 1,
        log: Log | None = None,
        decode: Decode | None = None,
        dlq: MemoryDlq | None = None,
        **changes: Any,
    ) -> None:
        self.log, self.sink, self.dlq = log or Log(partitions), sink, dlq or MemoryDlq()
        self.engine = Engine(
            sink=sink,
            decode=decode or share_events(CODEC, sink.group),
            dead_letters=self.dlq,  # type: ignore[arg-type]
            settings=StreamSettings(**{**QUICK, **changes}),
            topic_ids=lambda _: UUID(int=1),
        )
        self.tps = {TP(TOPIC, n) for n in range(partitions)}
        self.seeks = 0

    async def seek(self) -> None:
        self.seeks += 1
        for tp, offset in (await self.engine.seek_positions(self.log, self.tps)).items():
            self.log.position[tp.partition] = offset

    async def run(self, size: int = 7, done: Callable[[], bool] | None = None, within: float = 5) -> None:
        """Feed fetches of *size* until every watermark is at the log's end (or *done*), *within* seconds."""
        await self.seek()

        def settled() -> bool:
            return all(self.engine.watermark(tp) == len(self.log.records[tp.partition]) for tp in self.tps)

        async def stream() -> AsyncIterator[Fetched]:
            while not (done or settled)():
                for tp in sorted(self.tps):
                    fetched = self.log.fetch(tp.partition, size)
                    if fetched is not None:
                        yield fetched
                await asyncio.sleep(0.001)

        await asyncio.wait_for(self.engine.settle(stream(), self.seek), within)
