"""When an owner's day closes: at nine by their own clock, once for each date.

The rules where clocks are odd:

- A date on which nine o'clock comes twice closes at the first; one on which clocks jump over nine closes when it would
  have been nine by the old clock; a date that a zone leaves out has no digest, and what would be in it is in the next.
- A digest that could not be sent at nine is sent later on the same local date. After that it is part of the next one.
- Who moves to another zone keeps the dates they had: a date that is closed is not closed again, and where their new day
  is already past nine, it closes at once.

Zones come from the package ``tzdata``, which is pinned, not from the machine.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, reset_tzpath

# Without a path of the machine's what is left is the package tzdata.
reset_tzpath(())

NINE = time(9)
_DAY = timedelta(days=1)


class UnknownZone(ValueError):
    """No such IANA time zone."""


def zone_of(name: str) -> ZoneInfo:
    """The zone *name* of the pinned data; raises :class:`UnknownZone`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownZone(name) from error


def closes_at(day: date, zone: ZoneInfo) -> datetime | None:
    """The moment (UTC) at which *day* closes in *zone*; None for a date that the zone leaves out."""
    moment = datetime.combine(day, NINE, zone).astimezone(UTC)
    return moment if moment.astimezone(zone).date() == day else None


def next_close(after: datetime, zone: ZoneInfo, last: date | None) -> datetime:
    """The first close strictly after *after* of a date that is later than *last*."""
    day = after.astimezone(zone).date()
    if last is not None and day <= last:
        day = last + _DAY
    while True:
        moment = closes_at(day, zone)
        if moment is not None and moment > after:
            return moment
        day += _DAY


def day_to_close(now: datetime, zone: ZoneInfo, last: date | None) -> date | None:
    """The local date that is to be closed *now*, if its time has come and it is not closed."""
    day = now.astimezone(zone).date()
    moment = closes_at(day, zone)
    if moment is None or moment > now or (last is not None and day <= last):
        return None
    return day
