"""Nine o'clock in every zone, on every odd day that there has been."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest

from notifications.schedule import UnknownZone, closes_at, day_to_close, next_close, zone_of


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "moment"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-28T08:00"),
        ("Europe/Berlin", "2026-03-29", "2026-03-29T07:00"),
        ("Europe/Berlin", "2026-10-25", "2026-10-25T08:00"),
        ("America/New_York", "2026-03-08", "2026-03-08T13:00"),
        ("America/New_York", "2026-11-01", "2026-11-01T14:00"),
        ("Asia/Kathmandu", "2026-05-01", "2026-05-01T03:15"),
        ("Pacific/Chatham", "2026-01-15", "2026-01-14T19:15"),
        ("Pacific/Kiritimati", "2026-05-01", "2026-04-30T19:00"),
        ("Etc/GMT+12", "2026-05-01", "2026-05-01T21:00"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T22:30"),
    ],
)
def test_nine_by_the_owners_clock(zone: str, day: str, moment: str) -> None:
    assert closes_at(date.fromisoformat(day), zone_of(zone)) == utc(moment)


def test_a_date_that_a_zone_leaves_out_has_no_digest() -> None:
    samoa = zone_of("Pacific/Apia")
    assert closes_at(date(2011, 12, 30), samoa) is None
    after = closes_at(date(2011, 12, 29), samoa)
    assert after is not None
    assert next_close(after, samoa, date(2011, 12, 29)) == closes_at(date(2011, 12, 31), samoa)


def test_clocks_that_jump_over_nine_close_the_day_by_the_old_clock() -> None:
    # On 1 April 1979 clocks in Athens went from 09:00 to 10:00.
    assert closes_at(date(1979, 4, 1), zone_of("Europe/Athens")) == utc("1979-04-01T07:00")


def test_a_late_close_is_on_the_same_date_or_in_the_next() -> None:
    berlin = zone_of("Europe/Berlin")
    assert day_to_close(utc("2026-05-01T06:59"), berlin, None) is None
    assert day_to_close(utc("2026-05-01T07:00"), berlin, None) == date(2026, 5, 1)
    assert day_to_close(utc("2026-05-01T21:59"), berlin, None) == date(2026, 5, 1)
    assert day_to_close(utc("2026-05-01T22:01"), berlin, None) is None, "the first of May is over"
    assert next_close(utc("2026-05-01T22:01"), berlin, None) == utc("2026-05-02T07:00")


def test_a_date_is_closed_once_wherever_its_owner_goes() -> None:
    tokyo, honolulu = zone_of("Asia/Tokyo"), zone_of("Pacific/Honolulu")
    closed = utc("2026-05-01T00:00")
    assert day_to_close(closed, tokyo, None) == date(2026, 5, 1)
    # In Honolulu it is still the last of April, and will be the first of May again.
    assert day_to_close(utc("2026-04-30T20:00") + timedelta(hours=5), honolulu, date(2026, 5, 1)) is None
    assert next_close(closed, honolulu, date(2026, 5, 1)) == utc("2026-05-02T19:00")
    # The other way the day is past nine at once.
    assert day_to_close(utc("2026-05-02T01:00"), tokyo, date(2026, 5, 1)) == date(2026, 5, 2)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "europe/berlin ", "Europe/Berlin\0"]
)
def test_an_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(UnknownZone):
        zone_of(name)


def test_every_zone_has_a_nine_on_every_day_of_a_year() -> None:
    missing = {
        name
        for name in zoneinfo.available_timezones() - {"localtime"}
        for offset in range(365)
        if closes_at(date(2026, 1, 1) + timedelta(days=offset), zone_of(name)) is None
    }
    assert not missing
