"""Whether this machine has processors enough for what runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clients.cpu import CpuReading, read, stolen_between, waiting_between
from ops.doctor.finding import Check, Finding, Symptom, well
from ops.doctor.surroundings import Surroundings

# Of all processors' time: more than this taken by the host is no noise.
STOLEN = 0.10

CPU_SHORT = Symptom(
    name="cpu-short",
    says="this machine has too few processors for what runs on it",
    users="Answers are slow, and requests may end in 503: everything waits for a processor. Time limits pass that "
    "nothing else would reach, so that other findings may follow from this one.",
    do="top (or pidstat 5) says what runs; move it, or give the machine more processors. Steal (st in top) is what the "
    "host gives to its other guests",
    over="The check cpu is well.",
    page="P3, business hours",
    alerts=("wishlist-cpu-short",),
)


def judge(waiting: float, stolen: float, load: float, processors: int, most: float) -> Finding:
    """*waiting*: the share of the time in which some task waited for a processor; *most* of it is well."""
    seen = (
        f"some task waits {waiting:.0%} of the time, {stolen:.0%} is stolen by the host, load {load:.1f} on "
        f"{processors} processors"
    )
    return CPU_SHORT.found(seen) if waiting > most or stolen > STOLEN else well(seen)


async def _look(around: Surroundings) -> Iterable[Finding]:
    before = read()
    await asyncio.sleep(around.settings.watch_seconds)
    after = read()
    most = around.settings.cpu_waiting
    return [judge(_of_a_minute(before, after), stolen_between(before, after), after.load, after.processors, most)]


def _of_a_minute(before: CpuReading, after: CpuReading) -> float:
    return waiting_between(before, after) if after.waiting_now is None else after.waiting_now


CHECKS = (
    Check(
        name="cpu",
        at="how long tasks of this machine wait for a processor, and what its host takes",
        look=_look,
        symptoms=(CPU_SHORT,),
    ),
)
