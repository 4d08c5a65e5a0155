"""The dashboard's words and figures, out of a report made by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from analytics import words
from analytics.dashboard import data_of, render
from analytics.report import Report, Span, Totals

SPAN = Span(date(2026, 11, 1), date(2026, 11, 2))
TOTALS = Totals(
    shares=20, sharing_users=8, views=100, raw_views=130, converting_views=13, new_wishlists=2, shares_with_views=16,
    items_added=15, shares_with_adds=10, shares_revoked=1, median_lifespan_hours=50.0,
)  # fmt: skip
NOTHING = Totals(
    shares=0, sharing_users=0, views=0, raw_views=0, converting_views=0, new_wishlists=0, shares_with_views=0,
    items_added=0, shares_with_adds=0, shares_revoked=0, median_lifespan_hours=None,
)  # fmt: skip


def engaged(day: int, channel: str, platform: str, *counts: int) -> dict[str, Any]:
    names = ("shares_created", "shares_viewed", "items_added_from_shares")
    row = {"event_date": date(2026, 11, day), "share_channel": channel, "platform": platform}
    return {**row, **dict(zip(names, counts, strict=True))}


REPORT = Report(
    span=SPAN,
    made_at=datetime(2026, 11, 2, 12, tzinfo=UTC),
    totals=TOTALS,
    before=replace(TOTALS, shares=10, views=50, shares_revoked=1),
    funnel=[
        {"platform": "web", "share_channel": None, "buttons_viewed": 100, "initiated": 0, "completed": 0},
        {"platform": "web", "share_channel": "email", "buttons_viewed": 0, "initiated": 6, "completed": 6},
        {"platform": "mobile", "share_channel": None, "buttons_viewed": 150, "initiated": 0, "completed": 0},
        {"platform": "mobile", "share_channel": "email", "buttons_viewed": 0, "initiated": 19, "completed": 17},
    ],
    engagement=[
        engaged(1, "email", "web", 6, 30, 5), engaged(1, "whatsapp", "mobile", 9, 40, 6),
        engaged(2, "email", "mobile", 5, 30, 4),
    ],
    viral_by_day=[{"event_date": date(2026, 11, 2), "viral_coefficient": 0.125}],
    channels=[{"share_channel": "email", "shares": 11}, {"share_channel": "whatsapp", "shares": 9}],
    products=[
        {"product_id": "p1", "product_name": "</script><b>Lamp", "times_shared": 12, "times_added": 3},
        {"product_id": "p2", "product_name": "Scarf", "times_shared": 8, "times_added": 4},
    ],
    countries=[
        {"country": "DE", "views": 60, "users": 30_000}, {"country": "JP", "views": 10, "users": 1_000},
        {"country": "FR", "views": 30, "users": None},
    ],
)  # fmt: skip
EMPTY = Report(SPAN, REPORT.made_at, NOTHING, NOTHING, [], [], [], [], [], [])


def test_each_tile_says_what_happened_in_a_sentence() -> None:
    assert words.headlines(REPORT) == {
        "funnel": "10.0 % of share buttons seen are clicked; 92 % of clicks end in a link.",
        "engagement": "20 shares were viewed 100 times by people, 100 % more than in the days before.",
        "viral": "Every 8 shares make one new wishlist: above the target of one in ten.",
        "channels": "E-mail carries 55 % of shares, WhatsApp 45 %.",
        "products": "</script><b>Lamp is shared most; Scarf is added most for each share (50 %).",
        "countries": "Most views for its users: Japan, 1\u202f000 for 100\u202f000.",
    }


@pytest.mark.parametrize(
    ("viral", "expected"),
    [(0, "No share has made a new wishlist: not above"), (1, "Every 10 shares"), (2, "Every 5 shares")],
)
def test_the_target_is_above_one_in_ten(viral: int, expected: str) -> None:
    report = replace(REPORT, totals=replace(TOTALS, new_wishlists=viral, shares_with_views=10))
    assert words.headlines(report)["viral"].startswith(expected)
    assert ("not above" in words.headlines(report)["viral"]) == (viral < 2)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (0, "by people."), (100, "as often as in the days before."), (200, "50 % less than in the days before."),
        (20, "5 times as often as in the days before."),
    ],
)  # fmt: skip
def test_a_change_is_told_as_people_would(before: int, expected: str) -> None:
    report = replace(REPORT, before=replace(TOTALS, views=before))
    assert words.headlines(report)["engagement"].endswith(expected)


def test_links_without_a_click_are_no_part_of_the_clicks() -> None:
    row = {"platform": "web", "share_channel": "email", "buttons_viewed": 100, "initiated": 50, "completed": 51}
    told = words.headlines(replace(REPORT, funnel=[row]))["funnel"]
    assert told == (
        "50.0 % of share buttons seen are clicked; 51 links were made, of which 1 at least without a click told."
    )


def test_a_country_with_a_handful_of_users_makes_no_headline() -> None:
    few = replace(
        REPORT, countries=[{"country": "FR", "views": 5, "users": 1}, {"country": "US", "views": 15, "users": 90}]
    )
    assert words.headlines(few)["countries"] == "United States has most: 75 % of the views whose country is known."


def test_the_eight_metrics() -> None:
    assert [(metric.name, metric.value, metric.change_words) for metric in words.metrics(REPORT)] == [
        ("Shares a day", "10.0", "+100 %"),
        ("Conversion of views", "13.0 %", "−50 %"),
        ("Viral coefficient", "0.125", "unchanged"),
        ("Items added", "15", "unchanged"),
        ("First channel", "E-mail", "no comparison"),
        ("Most views from", "Germany", "no comparison"),
        ("A link lives", "2.1 days", "unchanged"),
        ("Revoked", "5.0 %", "−50 %"),
    ]


def test_what_the_charts_are_drawn_from() -> None:
    data = data_of(REPORT)
    assert data["days"] == ["2026-11-01", "2026-11-02"]
    assert data["today"] is True
    assert data["funnel"] == {"all": [250, 25, 23], "web": [100, 6, 6], "mobile": [150, 19, 17]}
    assert list(data["engagement"]) == ["all", "WhatsApp", "E-mail", "Web", "Mobile"]
    assert data["engagement"]["all"] == {"created": [15, 5], "viewed": [70, 30], "added": [11, 4]}
    assert data["engagement"]["E-mail"]["viewed"] == [30, 30]
    assert data["engagement"]["Mobile"]["viewed"] == [40, 30]
    assert data["viral"] == [None, 0.125]
    assert {one["name"]: one["value"] for one in data["countries"]} == {"DE": 200.0, "JP": 1000.0, "FR": None}


def test_a_shop_where_nothing_happened_has_a_dashboard_too() -> None:
    for sentence in words.headlines(EMPTY).values():
        assert re.match("Nothing|Nobody|No ", sentence), sentence
    assert {metric.change for metric in words.metrics(EMPTY)} == {None}
    assert "Nobody has clicked a share button." in render(EMPTY)


def test_the_page_needs_nothing_and_lets_nothing_in() -> None:
    page = render(REPORT)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\((?!data:)|@import""", page.replace("url(#", ""))
    assert "</script><b>Lamp" not in page
    assert "&lt;/script&gt;&lt;b&gt;Lamp" in page


def test_spans_are_told_shortly() -> None:
    assert words.span(Span.of(date(2026, 1, 3), 7)) == "28 Dec 2025 – 3 Jan 2026"
    assert Span.of(date(2026, 1, 3), 7).before() == Span.of(date(2025, 12, 27), 7)
