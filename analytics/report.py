"""The figures of the dashboard "Wishlist Social — SPEC-2025-089", out of the warehouse's views for a span of days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from google.cloud import bigquery

from clients.bigquery import Warehouse

Rows = Sequence[dict[str, Any]]

_ENGAGEMENT = """
SELECT event_date, share_channel, platform, shares_created, shares_viewed, raw_shares_viewed, items_added_from_shares
FROM `{dataset}.share_engagement_daily` WHERE event_date BETWEEN @since AND @until"""
_FUNNEL = """
SELECT platform, share_channel, SUM(buttons_viewed) AS buttons_viewed, SUM(initiated) AS initiated,
       SUM(completed) AS completed
FROM `{dataset}.share_funnel_daily` WHERE event_date BETWEEN @since AND @until GROUP BY platform, share_channel"""
_VIRAL = """
SELECT COUNT(DISTINCT new_wishlist_id) AS new_wishlists, COUNT(DISTINCT IF(views > 0, share_id, NULL)) AS shares
FROM `{dataset}.viral_share_days` WHERE event_date BETWEEN @since AND @until"""
_VIRAL_BY_DAY = """
SELECT event_date, new_wishlists, shares_with_views, viral_coefficient
FROM `{dataset}.viral_coefficient_daily` WHERE event_date BETWEEN @since AND @until ORDER BY event_date"""
_CHANNELS = """
SELECT share_channel, SUM(shares) AS shares
FROM `{dataset}.share_channel_distribution` WHERE event_date BETWEEN @since AND @until
GROUP BY share_channel ORDER BY shares DESC"""
_PRODUCTS = """
WITH totals AS (
  SELECT product_id, SUM(times_shared) AS times_shared, SUM(times_added_from_share) AS times_added
  FROM `{dataset}.shared_products_daily` WHERE event_date BETWEEN @since AND @until GROUP BY product_id
)
SELECT product_id, COALESCE(product_name, product_id) AS product_name, times_shared, times_added
FROM totals LEFT JOIN `{dataset}.products` USING (product_id)
ORDER BY times_shared DESC, times_added DESC, product_id LIMIT 20"""
_COUNTRIES = """
SELECT country, SUM(views) AS views, ANY_VALUE(users) AS users
FROM `{dataset}.views_per_100k_users` WHERE event_date BETWEEN @since AND @until AND country != ''
GROUP BY country HAVING SUM(views) > 0"""
_CONVERSION = """
SELECT SUM(views) AS views, SUM(raw_views) AS raw_views, SUM(converting_views) AS converting_views
FROM `{dataset}.share_conversion_daily` WHERE event_date BETWEEN @since AND @until"""
_SHARES = """
SELECT COUNT(*) AS shares, COUNT(DISTINCT user_id) AS users
FROM `{dataset}.share_events_once`
WHERE event_date BETWEEN @since AND @until AND event_type = 'share_created'"""
_ADDED = """
SELECT COUNT(*) AS items, COUNT(DISTINCT share_id) AS shares
FROM `{dataset}.share_events_once`
WHERE event_date BETWEEN @since AND @until AND event_type = 'share_item_added'"""
_REVOKED = """
SELECT SUM(shares_created) AS shares, SUM(shares_revoked) AS revoked
FROM `{dataset}.revocation_daily` WHERE event_date BETWEEN @since AND @until"""
# Shares that were made in the span and that a person has viewed: half of them live longer, half less long.
_LIFESPAN = """
SELECT PERCENTILE_CONT(lifespan_hours, 0.5) OVER () AS median_hours
FROM `{dataset}.share_link_lifespan`
WHERE DATE(created_at) BETWEEN @since AND @until AND lifespan_hours IS NOT NULL
LIMIT 1"""


@dataclass(frozen=True)
class Span:
    """Days, both ends included, UTC."""

    since: date
    until: date

    @classmethod
    def of(cls, until: date, days: int) -> Span:
        """The *days* days up to *until*."""
        return cls(until - timedelta(days=days - 1), until)

    @property
    def days(self) -> int:
        """How many."""
        return (self.until - self.since).days + 1

    def before(self) -> Span:
        """As many days just before."""
        return Span.of(self.since - timedelta(days=1), self.days)


@dataclass(frozen=True)
class Totals:
    """The eight metrics of one span, those that are one number; None where nothing can be divided."""

    shares: int
    sharing_users: int
    views: int
    raw_views: int
    converting_views: int
    new_wishlists: int
    shares_with_views: int
    items_added: int
    shares_with_adds: int
    shares_revoked: int
    median_lifespan_hours: float | None

    @property
    def shares_per_user(self) -> float | None:
        """Metric 1."""
        return _ratio(self.shares, self.sharing_users)

    @property
    def conversion_rate(self) -> float | None:
        """Metric 2."""
        return _ratio(self.converting_views, self.views)

    @property
    def viral_coefficient(self) -> float | None:
        """Metric 3."""
        return _ratio(self.new_wishlists, self.shares_with_views)

    @property
    def items_per_share(self) -> float | None:
        """Metric 4."""
        return _ratio(self.items_added, self.shares_with_adds)

    @property
    def revocation_rate(self) -> float | None:
        """Metric 8."""
        return _ratio(self.shares_revoked, self.shares)


@dataclass(frozen=True)
class Report:
    """Everything that the dashboard shows."""

    span: Span
    made_at: datetime
    totals: Totals
    before: Totals
    funnel: Rows
    engagement: Rows
    viral_by_day: Rows
    channels: Rows
    products: Rows
    countries: Rows


def read(warehouse: Warehouse, span: Span) -> Report:
    """The report of *span*; raises :class:`clients.faults.Unavailable`."""

    def ask(sql: str, of: Span = span) -> Rows:
        return _ask(warehouse, sql, of)

    return Report(
        span=span,
        made_at=datetime.now(UTC),
        totals=_totals(warehouse, span),
        before=_totals(warehouse, span.before()),
        funnel=ask(_FUNNEL),
        engagement=ask(_ENGAGEMENT),
        viral_by_day=ask(_VIRAL_BY_DAY),
        channels=ask(_CHANNELS),
        products=ask(_PRODUCTS),
        countries=ask(_COUNTRIES),
    )


def _totals(warehouse: Warehouse, span: Span) -> Totals:
    def ask(sql: str) -> dict[str, Any]:
        [row] = _ask(warehouse, sql, span)
        return row

    shares, conversion, viral = ask(_SHARES), ask(_CONVERSION), ask(_VIRAL)
    added, revoked = ask(_ADDED), ask(_REVOKED)
    lifespan = _ask(warehouse, _LIFESPAN, span)
    return Totals(
        shares=shares["shares"],
        sharing_users=shares["users"],
        views=conversion["views"] or 0,
        raw_views=conversion["raw_views"] or 0,
        converting_views=conversion["converting_views"] or 0,
        new_wishlists=viral["new_wishlists"],
        shares_with_views=viral["shares"],
        items_added=added["items"],
        shares_with_adds=added["shares"],
        shares_revoked=revoked["revoked"] or 0,
        median_lifespan_hours=lifespan[0]["median_hours"] if lifespan else None,
    )


def _ask(warehouse: Warehouse, sql: str, span: Span) -> Rows:
    return warehouse.query(
        sql.format(dataset=warehouse.dataset),
        [
            bigquery.ScalarQueryParameter("since", "DATE", span.since),
            bigquery.ScalarQueryParameter("until", "DATE", span.until),
        ],
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
