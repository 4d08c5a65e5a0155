"""Disk space, as far as this machine can see it (DOCTOR_DISKS)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence

from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import Surroundings

# Of the disk.
LITTLE, NEARLY_NONE = 0.10, 0.03

DISK_LOW = Symptom(
    name="disk-low",
    says="a disk fills up",
    users="None yet.",
    do="du -xh {folder} | sort -h | tail says what takes it; make room, or a larger disk",
    over="More than 10 % is free.",
    alerts=("wishlist-disk-low",),
)
DISK_FULL = Symptom(
    name="disk-full",
    says="a disk is full",
    users="A broker or PostgreSQL that cannot write stops: see kafka-away and postgres-away.",
    do="make room now: du -xh {folder} | sort -h | tail. Never delete files of PostgreSQL or Kafka by hand; start "
    "them again once there is room",
    over="More than 10 % is free, and the checks brokers and postgres are well.",
    broken=True,
    alerts=("wishlist-disk-low",),
)
DISK_UNSEEN = Symptom(
    name="disk-unseen",
    says="a folder of DOCTOR_DISKS cannot be looked at",
    users="None; nothing is known of its disk.",
    do="correct DOCTOR_DISKS",
    over="The check disk is well.",
)


def judge(folder: str, total: int, free: int) -> Finding:
    """Sizes in bytes."""
    seen = f"{folder}: {free / 1e9:,.1f} of {total / 1e9:,.0f} GB free"
    if free < NEARLY_NONE * total:
        return DISK_FULL.found(seen, folder=folder)
    if free < LITTLE * total:
        return DISK_LOW.found(seen, folder=folder)
    return well(seen)


def _all(folders: Sequence[str]) -> list[Finding]:
    found = []
    for folder in folders:
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            found.append(DISK_UNSEEN.found(f"{folder}: {error.strerror}"))
        else:
            found.append(judge(folder, usage.total, usage.free))
    return found


async def _look(around: Surroundings) -> Iterable[Finding]:
    return await asyncio.to_thread(_all, around.settings.folders)


CHECKS = (
    Check(
        name="disk",
        at="free space of the disks that DOCTOR_DISKS names",
        look=_look,
        symptoms=(DISK_FULL, DISK_LOW, DISK_UNSEEN),
    ),
)
