"""The time zone an owner is told things by."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from prometheus_client import Counter

from notifications.schedule import UnknownZone, zone_of


def owner_zone(name: str, outcomes: Counter) -> ZoneInfo:
    """The zone *name*; UTC where there is none such, which *outcomes* counts as ``unknown_zone``.

    Better by another clock than not at all, and nobody else waits for it.
    """
    try:
        return zone_of(name)
    except UnknownZone:
        outcomes.labels("unknown_zone").inc()
        return zone_of("UTC")
