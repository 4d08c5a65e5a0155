"""The dashboard in words: what happened, in a sentence a tile, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from babel import Locale

from analytics.report import Report, Rows, Span, Totals

VIRAL_TARGET = 0.1
_ENGLISH = Locale("en")
# In a country with fewer a handful of views would be a record.
_ENOUGH_USERS = 1_000
# From so much on a change is told as a multiple.
_MANIFOLD = 2.0
_CHANNELS = {
    "copy_link": "Copied link",
    "whatsapp": "WhatsApp",
    "email": "E-mail",
    "facebook": "Facebook",
    "twitter": "Twitter",
}
_PLATFORMS = {"web": "Web", "mobile": "Mobile"}


@dataclass(frozen=True)
class Metric:
    """One of the spec's eight: its value now, and by how much it differs from the days before (``None``: unknown)."""

    name: str
    value: str
    note: str
    change: float | None

    @property
    def change_words(self) -> str:
        """As "+12 %"."""
        if self.change is None:
            return "no comparison"
        if self.change >= _MANIFOLD:
            return f"×{number(1 + self.change)}"
        return "unchanged" if abs(self.change) < 0.005 else f"{100 * self.change:+.0f} %".replace("-", "−")


def channels() -> list[str]:
    """Their names, in the order of the spec."""
    return list(_CHANNELS.values())


def platforms() -> list[str]:
    """Their names."""
    return list(_PLATFORMS.values())


def country(code: str) -> str:
    """A country as people call it."""
    return str(_ENGLISH.territories.get(code, code))


def channel(name: str) -> str:
    """A channel as people call it."""
    return _CHANNELS.get(name, "Other")


def platform(name: str) -> str:
    """A platform as people call it."""
    return _PLATFORMS.get(name, "Unknown platform")


def span(of: Span) -> str:
    """As "28 Oct – 26 Nov 2026"."""
    first = f"{of.since.day} {of.since:%b}" + (f" {of.since.year}" if of.since.year != of.until.year else "")
    return f"{first} – {of.until.day} {of.until:%b} {of.until.year}"


def number(value: float | None, digits: int = 0) -> str:
    """With thin spaces between thousands; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def percent(value: float | None, digits: int = 1) -> str:
    """A ratio as a percentage."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def duration(hours: float | None) -> str:
    """Hours, or days where those are many."""
    if hours is None:
        return "–"
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h"


def metrics(report: Report) -> list[Metric]:
    """The spec's eight ("Analytics Dashboard"), in its order."""
    now, before = report.totals, report.before

    def metric(name: str, value: str, note: str, of: Callable[[Totals], float | None]) -> Metric:
        new, old = of(now), of(before)
        return Metric(name, value, note, None if new is None or not old else new / old - 1)

    top = max(report.channels, key=lambda row: row["shares"], default=None)
    where = max(report.countries, key=lambda row: row["views"], default=None)
    return [
        metric("Shares a day", number(now.shares / report.span.days, 1),
               f"{number(now.shares)} in all, {number(now.shares_per_user, 2)} for each who shared",
               lambda of: of.shares),
        metric("Conversion of views", percent(now.conversion_rate),
               f"{number(now.converting_views)} of {number(now.views)} views led to an item added",
               lambda of: of.conversion_rate),
        metric("Viral coefficient", number(now.viral_coefficient, 3),
               f"{number(now.new_wishlists)} lists begun / {number(now.shares_with_views)} shares viewed",
               lambda of: of.viral_coefficient),
        metric("Items added", number(now.items_added),
               f"{number(now.items_per_share, 2)} for each share that was added from", lambda of: of.items_added),
        Metric("First channel", "–" if top is None else channel(top["share_channel"]),
               "no shares" if top is None else f"{percent(_part(top['shares'], now.shares), 0)} of all shares", None),
        Metric("Most views from", "–" if where is None else country(where["country"]),
               "no views" if where is None else f"{percent(_part(where['views'], now.views), 0)} of all views", None),
        metric("A link lives", duration(now.median_lifespan_hours), "from making to last view, half live longer",
               lambda of: of.median_lifespan_hours),
        metric("Revoked", percent(now.revocation_rate), f"{number(now.shares_revoked)} of {number(now.shares)} shares",
               lambda of: of.revocation_rate),
    ]  # fmt: skip


def headlines(report: Report) -> dict[str, str]:
    """What happened, in a sentence for each tile."""
    return {
        "funnel": _funnel(report.funnel),
        "engagement": _engagement(report.totals, report.before),
        "viral": _viral(report.totals),
        "channels": _channels(report.channels),
        "products": _products(report.products),
        "countries": _countries(report.countries),
    }


def products(report: Report) -> list[dict[str, Any]]:
    """The rows of tile 5, with the widths of their bars in percent of the longest."""
    most = max((row["times_shared"] for row in report.products), default=0)
    return [
        {
            "name": row["product_name"],
            "shared": number(row["times_shared"]),
            "added": number(row["times_added"]),
            "rate": percent(_part(row["times_added"], row["times_shared"])),
            "width": round(100 * row["times_shared"] / most) if most else 0,
            "added_width": round(100 * min(row["times_added"], most) / most) if most else 0,
        }
        for row in report.products
    ]


def _funnel(rows: Rows) -> str:
    seen, begun, made = (sum(row[step] for row in rows) for step in ("buttons_viewed", "initiated", "completed"))
    if not begun:
        return "Nobody has clicked a share button."
    clicked = f"{percent(_part(begun, seen))} of share buttons seen are clicked" if seen else "No button was seen"
    if made > begun:
        # Links are made by the API too, where no page tells of a click.
        return (
            f"{clicked}; {number(made)} links were made, of which {number(made - begun)} at least without a click told."
        )
    return f"{clicked}; {percent(_part(made, begun), 0)} of clicks end in a link."


def _engagement(now: Totals, before: Totals) -> str:
    if not now.shares and not now.views:
        return "Nothing was shared and nothing viewed."
    words = f"{number(now.shares)} shares were viewed {number(now.views)} times by people"
    if not before.views:
        return f"{words}."
    change = now.views / before.views - 1
    if abs(change) < 0.01:
        return f"{words}, as often as in the days before."
    if change >= _MANIFOLD:
        return f"{words}, {number(1 + change)} times as often as in the days before."
    return f"{words}, {abs(100 * change):.0f} % {'more' if change > 0 else 'less'} than in the days before."


def _viral(now: Totals) -> str:
    if now.viral_coefficient is None:
        return "No share has been viewed by a person."
    shares = 1 / now.viral_coefficient if now.viral_coefficient else None
    made = f"Every {shares:.0f} shares make one new wishlist" if shares else "No share has made a new wishlist"
    where = "above" if now.viral_coefficient > VIRAL_TARGET else "not above"
    return f"{made}: {where} the target of one in ten."


def _channels(rows: Rows) -> str:
    total = sum(row["shares"] for row in rows)
    if not total:
        return "Nothing was shared."
    first, *rest = rows
    words = f"{channel(first['share_channel'])} carries {percent(first['shares'] / total, 0)} of shares"
    if not rest:
        return f"{words}."
    return f"{words}, {channel(rest[0]['share_channel'])} {percent(rest[0]['shares'] / total, 0)}."


def _products(rows: Rows) -> str:
    if not rows:
        return "No product was shared."
    best = max(rows, key=lambda row: (_part(row["times_added"], row["times_shared"]) or 0, row["times_shared"]))
    first = f"{rows[0]['product_name']} is shared most"
    if not best["times_added"]:
        return f"{first}; none of these was added."
    rate = percent(_part(best["times_added"], best["times_shared"]), 0)
    if best is rows[0]:
        return f"{first}, and added most for each share ({rate})."
    return f"{first}; {best['product_name']} is added most for each share ({rate})."


def _countries(rows: Rows) -> str:
    known = [row for row in rows if (row["users"] or 0) >= _ENOUGH_USERS]
    if not rows:
        return "No views from any country."
    if not known:
        most = max(rows, key=lambda row: row["views"])
        part = percent(most["views"] / sum(row["views"] for row in rows), 0)
        return f"{country(most['country'])} has most: {part} of the views whose country is known."
    first = max(known, key=lambda row: row["views"] / row["users"])
    rate = 100_000 * first["views"] / first["users"]
    return f"Most views for its users: {country(first['country'])}, {number(rate)} for 100{chr(0x202F)}000."


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole else None
