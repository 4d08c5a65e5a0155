"""What a check says: a finding, and the symptom that it is a case of.

Symptoms are data, so that the command and its runbook (docs/runbook.md, which is generated from them) say the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from ops.doctor.surroundings import Surroundings


class Level(IntEnum):
    """How bad it is. *unknown* is what could not be looked at."""

    WELL = 0
    UNKNOWN = 1
    LOOK = 2
    BROKEN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """*seen* is what there is; where it is not well, *users* is what follows for them, and *do* what helps."""

    level: Level
    seen: str
    users: str = ""
    do: str = ""
    symptom: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A thing that can be wrong. Words in braces in *do* are filled in by the finding, and are capitals in the runbook.

    *broken*: users notice it now, or an event is at stake. *over*: how one knows that it has passed. *alerts*: those of
    deploy/ that ring for it. *page*: whom to call, and when.
    """

    name: str
    says: str
    users: str
    do: str
    over: str
    broken: bool = False
    alerts: tuple[str, ...] = ()
    page: str = ""

    def found(self, seen: str, **words: object) -> Finding:
        """A case of it."""
        level = Level.BROKEN if self.broken else Level.LOOK
        return Finding(
            level, f"{self.says}: {seen}" if seen else self.says, self.users, self.do.format(**words), self.name
        )


def well(seen: str) -> Finding:
    """Nothing is wrong here."""
    return Finding(Level.WELL, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is looked at, *at* in words.

    *look* raises :class:`ops.doctor.surroundings.Away` where a part does not answer: that is the symptom *away* where
    this check is the one about that part, and otherwise unknown. It has *seconds*.
    """

    name: str
    at: str
    look: Callable[[Surroundings], Awaitable[Iterable[Finding]]]
    symptoms: tuple[Symptom, ...] = ()
    away: Symptom | None = None
    seconds: float = 8.0

    @property
    def every_symptom(self) -> tuple[Symptom, ...]:
        """The symptoms that it may find."""
        return ((self.away,) if self.away else ()) + self.symptoms


def ago(seconds: float) -> str:
    """A time in words: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    seconds = max(0.0, seconds)
    for size, name, below in ((1, "s", 90), (60, "min", 90 * 60), (3_600, "h", 48 * 3_600)):
        if seconds < below:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"
