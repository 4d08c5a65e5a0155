"""A sink in memory: passes the same contract suite as the real ones, and can be told to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from schemas.event import ShareEvent
from sinks.contract import Applied, Batch, Fenced, GroupStopped, Partition


class MemorySink:
    """``effects`` are the events applied, in order; *before* runs first in each try and may raise."""

    def __init__(self, group: str = "memory", before: Callable[[Batch], None] = lambda _: None) -> None:
        self.group = group
        self.before = before
        self.effects: list[ShareEvent] = []
        self.watermarks: dict[tuple[str, int], tuple[UUID, int]] = {}
        self._seen: set[UUID] = set()
        self.tries = 0

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """See :meth:`sinks.contract.Sink.positions`."""
        found = {}
        for partition, start in starts.items():
            topic_id, offset = self.watermarks.setdefault(
                (partition.topic, partition.number), (partition.topic_id, start)
            )
            if topic_id != partition.topic_id:
                raise GroupStopped(f"topic {partition.topic} was made anew")
            found[partition] = offset
        return found

    async def apply(self, batch: Batch) -> Applied:
        """See :meth:`sinks.contract.Sink.apply`."""
        self.tries += 1
        fenced = [
            move.partition
            for move in batch.moves
            if self.watermarks.get((move.partition.topic, move.partition.number))
            != (move.partition.topic_id, move.expected)
        ]
        if fenced:
            raise Fenced(fenced)
        self.before(batch)
        for move in batch.moves:
            self.watermarks[move.partition.topic, move.partition.number] = (move.partition.topic_id, move.next)
        fresh = list({e.event_id: e for e in batch.events if e.event_id not in self._seen}.values())
        self._seen |= {event.event_id for event in fresh}
        self.effects += fresh
        return Applied(len(fresh) or len(batch.dead_letters), len(batch.events) - len(fresh))
