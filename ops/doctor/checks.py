"""Every check there is, by family: a new part joins with a line."""

from __future__ import annotations

from ops.doctor import (
    archive,
    clocks,
    cpu,
    dead_letters,
    disks,
    groups,
    kafka,
    postgres,
    processes,
    redis,
    renderer,
    sharing,
    stores,
    waiting,
    warehouse,
)
from ops.doctor.finding import Check

# A title for the runbook, and the checks under it.
FAMILIES: dict[str, tuple[Check, ...]] = {
    "Sharing": sharing.CHECKS,
    "PostgreSQL": postgres.CHECKS,
    "Redis": redis.CHECKS,
    "Kafka": kafka.CHECKS,
    "Consumer groups": groups.CHECKS,
    "Dead letters": dead_letters.CHECKS,
    "What waits": waiting.CHECKS,
    "Renderer and pictures": renderer.CHECKS,
    "Our processes": processes.CHECKS,
    "Clocks": clocks.CHECKS,
    "Bucket and queue": stores.CHECKS,
    "Archive": archive.CHECKS,
    "Warehouse": warehouse.CHECKS,
    "Disks": disks.CHECKS,
    "Processors": cpu.CHECKS,
}
CHECKS: tuple[Check, ...] = tuple(check for family in FAMILIES.values() for check in family)
