"""The dashboard as one HTML page that needs nothing else: charts, map, type and figures are all in it."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analytics import words
from analytics.report import Report

TITLE = "Wishlist Social — SPEC-2025-089"
_HERE = Path(__file__).parent
_FONT = _HERE.parent / "cards" / "assets" / "fonts" / "inter-latin-wght-normal.woff2"
_pages = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def render(report: Report) -> str:
    """The page."""
    assets = _HERE / "assets"
    return _pages.get_template("dashboard.html").render(
        title=TITLE,
        span=words.span(report.span),
        before=words.span(report.span.before()),
        made_at=report.made_at,
        metrics=words.metrics(report),
        headlines=words.headlines(report),
        products=words.products(report),
        data=_script(data_of(report)),
        world=_script(json.loads((assets / "world.json").read_text(encoding="utf-8"))),
        charts=(assets / "charts.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script"),
        style=(_HERE / "templates" / "dashboard.css").read_text(encoding="utf-8"),
        script=(_HERE / "templates" / "dashboard.js").read_text(encoding="utf-8"),
        font=base64.b64encode(_FONT.read_bytes()).decode(),
    )


def data_of(report: Report) -> dict[str, Any]:
    """What the charts are drawn from."""
    days = [report.span.since + timedelta(days=n) for n in range(report.span.days)]
    return {
        "days": [day.isoformat() for day in days],
        "today": report.made_at.date() == report.span.until and len(days) > 1,
        "funnel": {platform: _funnel(report, platform) for platform in ("all", "web", "mobile")},
        "engagement": _engagement(report, days),
        "viral": _by_day(report, days),
        "channels": [{"name": words.channel(row["share_channel"]), "value": row["shares"]} for row in report.channels],
        "countries": [
            {"name": row["country"], "views": row["views"], "users": row["users"],
             "value": None if not row["users"] else round(100_000 * row["views"] / row["users"], 1)}
            for row in report.countries
        ],
    }  # fmt: skip


def _funnel(report: Report, platform: str) -> list[int]:
    rows = [row for row in report.funnel if platform in {"all", row["platform"]}]
    return [sum(row[step] for row in rows) for step in ("buttons_viewed", "initiated", "completed")]


def _engagement(report: Report, days: Sequence[date]) -> dict[str, dict[str, list[int]]]:
    """Daily counts by breakdown: all, each channel, each platform."""
    place = {day: n for n, day in enumerate(days)}
    series: dict[str, dict[str, list[int]]] = defaultdict(
        lambda: {name: [0] * len(days) for name in ("created", "viewed", "added")}
    )
    for name in ("all", *words.channels(), *words.platforms()):
        _ = series[name]
    for row in report.engagement:
        for of in ("all", words.channel(row["share_channel"]), words.platform(row["platform"])):
            for name, column in _COLUMNS.items():
                series[of][name][place[row["event_date"]]] += row[column]
    return {name: of for name, of in series.items() if any(map(any, of.values()))}


_COLUMNS = {"created": "shares_created", "viewed": "shares_viewed", "added": "items_added_from_shares"}


def _by_day(report: Report, days: Sequence[date]) -> list[float | None]:
    known = {row["event_date"]: row["viral_coefficient"] for row in report.viral_by_day}
    return [None if known.get(day) is None else round(known[day], 4) for day in days]


def _script(value: Any) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
