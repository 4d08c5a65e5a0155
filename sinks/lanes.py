"""Lanes: a second way into a sink, beside its group's own.

A lane of a group has watermarks of its own and the group's ledger: what comes by both is applied once.
"""

from __future__ import annotations

# No name of a group has it.
_SEPARATOR = "#"


def lane_of(group: str, name: str) -> str:
    """The lane *name* of *group*, to be used wherever a sink takes its group."""
    return f"{group}{_SEPARATOR}{name}"


def group_of(lane: str) -> str:
    """The group whose lane it is; a group's own name is its own."""
    return lane.partition(_SEPARATOR)[0]
