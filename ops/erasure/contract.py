"""What a store says of a person, and how it forgets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Person:
    """Who is erased, and what was theirs that other stores know by name."""

    user_id: UUID
    public_id: str
    wishlist_ids: Sequence[UUID]
    share_tokens: Sequence[str]


class NotYet(Exception):
    """Something has to pass, or somebody to be well again, before this store can be done; says what."""


class Eraser(Protocol):
    """One store. What it does it can do again, from the start or from where it was killed."""

    name: str

    async def count(self, person: Person) -> int:
        """How much of theirs is there; raises :class:`NotYet` where that cannot be said now."""
        ...

    async def erase(self, person: Person) -> int:
        """Remove it, and return how much it was, but for what it has added to ``erasures.erased`` itself.

        Raises :class:`NotYet`, with some of it removed perhaps.

        By now no sink applies anything of theirs any more, and none is about to.
        """
        ...
