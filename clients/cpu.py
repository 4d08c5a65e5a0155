"""How short a machine's processors are: pressure stall information of Linux, and time that the host took away."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_PRESSURE = re.compile(r"^some avg10=\S+ avg60=(\S+) .*total=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CpuReading:
    """Counters at the monotonic moment *at*, in seconds; None where this kernel has no such counter.

    *waited*: for so long some task was ready and had no processor. *stolen*: of *ticks*, the time of all processors,
    the host gave so much to others. *waiting_now*: the share of the last minute in which some task waited.
    """

    at: float
    waited: float | None
    waiting_now: float | None
    stolen: float
    ticks: float
    load: float
    processors: int


def read(pressure: Path = Path("/proc/pressure/cpu"), stat: Path = Path("/proc/stat")) -> CpuReading:
    """The counters now."""
    waited = waiting_now = None
    try:
        if found := _PRESSURE.search(pressure.read_text()):
            waiting_now, waited = float(found[1]) / 100, int(found[2]) / 1e6
    except OSError:
        pass  # an older kernel, or one that was started without them
    try:
        # user nice system idle iowait irq softirq steal: the first eight are all of the time (proc(5)).
        ticks = [int(one) for one in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        ticks = []
    return CpuReading(
        at=time.monotonic(),
        waited=waited,
        waiting_now=waiting_now,
        stolen=float(ticks[7]) if len(ticks) == 8 else 0.0,
        ticks=float(sum(ticks)),
        load=os.getloadavg()[0],
        processors=os.cpu_count() or 1,
    )


def waiting_between(before: CpuReading, after: CpuReading) -> float:
    """The share of the time in which some task waited for a processor; by the load where there is no better figure."""
    if before.waited is None or after.waited is None:
        return max(0.0, 1 - after.processors / after.load) if after.load else 0.0
    return min(1.0, (after.waited - before.waited) / max(after.at - before.at, 1e-9))


def stolen_between(before: CpuReading, after: CpuReading) -> float:
    """The share of all processors' time that the host gave to others."""
    return (after.stolen - before.stolen) / (after.ticks - before.ticks) if after.ticks > before.ticks else 0.0
