"""Retry-After: seconds, dates in each of HTTP's forms, and whatever else receivers write into it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.retry_after import LONGEST_SECONDS, retry_after


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), (" ", None), ("soon", None), ("-1", None), ("1.5", None), ("1e3", None),
        ("0x10", None), ("+5", None), ("5 s", None), ("\u0661\u0662", None), ("\xb2", None),
        ("NaN", None), ("inf", None),
        ("0", 0.0), ("7", 7.0), (" 120 ", 120.0), ("007", 7.0), ("86400", 86_400.0),
        ("99999999", 99_999_999.0), ("9" * 400, LONGEST_SECONDS), ("9" * 5_000, LONGEST_SECONDS),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_SECONDS),
        ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_SECONDS),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 0000 00:00:00 GMT", 0.0),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 25:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +9999999999", None),
        ("21 Oct 2015", None), (",", None), ("Wed,", None), ("\x00", None), ("Wed, 21 \ud800 2015 07:28:00 GMT", None),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_each_form(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("zone", [UTC, None], ids=["zone", "without a zone"])
def test_a_date_ahead_is_so_many_seconds(zone: object) -> None:
    moment = in_seconds(90)
    text = format_datetime(moment if zone else moment.replace(tzinfo=None))
    found = retry_after(text.replace(" -0000", "") if not zone else text)
    assert found is not None
    assert 85 < found <= 91


_LIKE_A_DATE = r"\A[A-Z][a-z]{2}, \d{1,2} (Jan|Feb|Dec) \d{1,9} \d\d:\d\d:\d\d [-+]\d{1,9}\Z"


@given(st.one_of(st.text(), st.from_regex(_LIKE_A_DATE)))
def test_nothing_is_raised_and_a_wait_can_be_waited(value: str) -> None:
    found = retry_after(value)
    assert found is None or (math.isfinite(found) and 0 <= found <= LONGEST_SECONDS)
