"""Memory of this process and the browser's, for the gauge that the pod's limit is set by."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def resident_bytes(root: int | None = None) -> int:
    """Proportional set size of *root* (this process) and all below it; 0 where there is no /proc.

    Proportional, because Chromium's processes share most of their pages: plain resident sizes count them many times.
    """
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # It ended while we looked.
        children.setdefault(parent, []).append(int(entry.parent.name))
    todo, total = [root if root is not None else os.getpid()], 0
    while todo:
        process = todo.pop()
        todo += children.get(process, [])
        total += _proportional(process)
    return total


def _proportional(process: int) -> int:
    try:
        for line in (PROC / str(process) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0
