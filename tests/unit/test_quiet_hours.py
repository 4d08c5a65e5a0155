"""Quiet hours: which moments lie in them, and when they are over, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.quiet import quiet_until
from notifications.schedule import zone_of

BERLIN = zone_of("Europe/Berlin")
NIGHT = (time(22), time(8))


def at(text: str) -> datetime:
    """A local time in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("now", "over"),
    [
        ("2026-06-01T21:59", None),
        ("2026-06-01T22:00", "2026-06-02T08:00"),
        ("2026-06-01T23:59", "2026-06-02T08:00"),
        ("2026-06-02T00:00", "2026-06-02T08:00"),
        ("2026-06-02T07:59", "2026-06-02T08:00"),
        ("2026-06-02T08:00", None),
        # The night in which the clock jumps from two to three, and the one in which two o'clock comes twice.
        ("2026-03-28T23:00", "2026-03-29T08:00"),
        ("2026-10-24T23:00", "2026-10-25T08:00"),
    ],
)
def test_over_midnight(now: str, over: str | None) -> None:
    assert quiet_until(at(now), BERLIN, *NIGHT) == (at(over) if over else None)


@pytest.mark.parametrize(
    ("now", "over"), [("12:59", None), ("13:00", "15:00"), ("14:59", "15:00"), ("15:00", None), ("23:00", None)]
)
def test_within_a_day(now: str, over: str | None) -> None:
    expected = at(f"2026-06-01T{over}") if over else None
    assert quiet_until(at(f"2026-06-01T{now}"), BERLIN, time(13), time(15)) == expected


@pytest.mark.parametrize("hours", [(None, None), (time(0), time(0)), (time(9), time(9))])
def test_no_quiet_hours(hours: tuple[time | None, time | None]) -> None:
    assert quiet_until(at("2026-06-01T09:00"), BERLIN, *hours) is None


def test_an_end_that_the_clock_jumps_over() -> None:
    # Half past two does not exist on that morning: by the old clock it would be half past three.
    over = quiet_until(at("2026-03-29T01:00"), BERLIN, time(22), time(2, 30))
    assert over == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_an_end_that_comes_twice() -> None:
    first = datetime(2026, 10, 25, 0, 15, tzinfo=UTC)  # 02:15, the first time
    assert quiet_until(first, BERLIN, time(22), time(2, 30)) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    again = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15, the second time
    assert quiet_until(again, BERLIN, time(22), time(2, 30)) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(
        ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
    start=st.times(),
    end=st.times(),
)
def test_quiet_hours_end_ahead_within_a_day_or_so(now: datetime, zone: str, start: time, end: time) -> None:
    over = quiet_until(now, zone_of(zone), start, end)
    assert over is None or now < over <= now + timedelta(hours=26)
