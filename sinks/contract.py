"""What every sink is, and the errors that tell the engine what to do next (docs/architecture.md, "Delivery")."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from schemas.codec import Origin
from schemas.event import ShareEvent
from schemas.segment import SegmentMessage


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of one topic; ``topic_id`` is Kafka's own id, which a re-created topic does not keep."""

    topic: str
    topic_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class Move:
    """A watermark's step: from the position this worker last wrote or sought to the end of its records."""

    partition: Partition
    expected: int
    next: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the DLQ topic with where it stands there and what its headers say."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """One share event with its record's place in Kafka, for sinks that keep that too."""

    event: ShareEvent
    origin: Origin
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one or more partitions to apply in one transaction: what they hold, and how far they reach."""

    moves: Sequence[Move]
    events: Sequence[ShareEvent] = ()
    dead_letters: Sequence[DeadLetter] = ()
    messages: Sequence[SegmentMessage] = ()
    placed: Sequence[PlacedEvent] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """How many events took effect, and how many this group had seen before or has no use for."""

    applied: int
    skipped: int


class Reject(Exception):
    """This batch can never be applied as it is: find the record that spoils it and put it aside."""


class Retry(Exception):
    """A passing fault: the same batch may be applied later."""


class Fenced(Exception):
    """Another worker has moved these partitions' watermarks: drop their records."""

    def __init__(self, partitions: Collection[Partition]) -> None:
        super().__init__(f"partitions {sorted(p.number for p in partitions)} belong to another worker")
        self.partitions = frozenset(partitions)


class GroupStopped(Exception):
    """Going on would lose or repeat events: a person must look."""


class Sink(Protocol):
    """A destination that owns its offsets."""

    group: str

    async def positions(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """The next offset of each partition; one never seen before begins at the offset given in *starts*.

        Raises :class:`Retry`, or :class:`GroupStopped` where the topic under this name is another one.
        """
        ...

    async def apply(self, batch: Batch) -> Applied:
        """Apply *batch* once, watermarks and effects together.

        Raises :class:`Fenced` (nothing was written), :class:`Retry` or :class:`Reject` (nothing was written, or,
        where a connection broke during commit, the next try will be fenced).
        """
        ...
