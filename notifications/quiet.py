"""Hours in which a user wants to be left alone, by their own clock."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


def quiet_until(now: datetime, zone: ZoneInfo, start: time | None, end: time | None) -> datetime | None:
    """When the quiet hours that *now* (aware) lies in are over (UTC); None outside of them, or without any.

    They begin at *start* and end before *end*, over midnight where *end* is the earlier. The same time for both is no
    time at all. Where a zone's clock jumps over *end*, they end when it would have been that time by the old clock.
    """
    if start is None or end is None or start == end:
        return None
    local = now.astimezone(zone)
    clock = local.time()
    over_midnight = end < start
    if not (clock >= start or clock < end if over_midnight else start <= clock < end):
        return None
    day = local.date() + timedelta(days=1) if over_midnight and clock >= start else local.date()
    over = datetime.combine(day, end, zone).astimezone(UTC)
    # An hour that comes twice may have its second end ahead, or its first behind.
    return over if over > now else datetime.combine(day, end.replace(fold=1), zone).astimezone(UTC)
