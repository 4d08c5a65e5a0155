"""Puts behind the others what nobody waits for: it runs on what they leave, and gives way at once when they want more.

A nice process gets less of the processor, but whoever wakes up still waits for the end of its turn, some milliseconds;
a request that goes through API, PostgreSQL and Kafka wakes up a dozen times. An idle control group has no turn to end
(``cpu.idle``: Linux 5.15, kernel documentation "Control Group v2", CPU). Only root may make one, and nothing else
stands on it: where it cannot be, nice is all there is.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# Where Linux shows the processor's groups: version 2, and version 1.
HIERARCHIES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu"))
NAME = "wishlist-social-background"


def put(process: int, hierarchies: tuple[Path, ...] = HIERARCHIES) -> bool:
    """Put *process* (its id), and whatever it starts from now on, into the background; whether that was possible."""
    for group in _groups(hierarchies):
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            # Not made, only written to: elsewhere than in a hierarchy of groups these would be files of ours.
            for name, value in (("cpu.idle", "1"), ("cgroup.procs", str(process))):
                with (group / name).open("r+") as file:
                    file.write(value)
            return True
    return False


def clear(hierarchies: tuple[Path, ...] = HIERARCHIES) -> None:
    """Remove the group, if no process is left in it."""
    for group in _groups(hierarchies):
        with suppress(OSError):
            group.rmdir()


def _groups(hierarchies: tuple[Path, ...]) -> list[Path]:
    return [hierarchy / NAME for hierarchy in hierarchies if (hierarchy / "cgroup.procs").exists()]
