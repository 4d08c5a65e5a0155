"""What a digest tells, as the notification hub gets it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID, uuid5

from schemas.ids import NAMESPACE


@dataclass(frozen=True, slots=True)
class Count:
    """What happened to one share from one country by one channel."""

    share_id: UUID
    country: str
    channel: str
    views: int
    items: int


def digest_id(owner_id: UUID, day: date) -> UUID:
    """The digest of an owner and a local day: the same whoever makes it, however often."""
    return uuid5(NAMESPACE, f"digest:{owner_id}:{day.isoformat()}")


def content_of(
    counts: Sequence[Count],
    people: Mapping[UUID, int],
    titles: Mapping[UUID, str],
    day_before: Mapping[str, int] | None,
    most_shares: int,
) -> dict[str, Any] | None:
    """The digest of *counts*, or None where there is nothing to tell.

    *people* and *titles* are by share. *day_before* are the totals of the digest of the date before, None without one.
    At most *most_shares* shares are named, those with the most views first; ``more_shares`` says how many are not.
    """
    views: Counter[UUID] = Counter()
    items: Counter[UUID] = Counter()
    countries: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    for count in counts:
        views[count.share_id] += count.views
        items[count.share_id] += count.items
        countries[count.country] += count.views
        channels[count.channel] += count.views
    if not views.total() and not items.total():
        return None
    shares = sorted(views, key=lambda share: (-views[share], -items[share], share))
    return {
        "totals": {
            "views": views.total(),
            "people": sum(people.get(share, 0) for share in views),
            "items_added": items.total(),
        },
        "day_before": None if day_before is None else dict(day_before),
        "countries": _most_first(countries),
        "channels": _most_first(channels),
        "shares": [
            {
                "share_id": str(share),
                "title": titles.get(share, ""),
                "views": views[share],
                "people": people.get(share, 0),
                "items_added": items[share],
            }
            for share in shares[:most_shares]
        ],
        "more_shares": max(0, len(shares) - most_shares),
    }


def by_owner(rows: Iterable[Any]) -> dict[UUID, list[Count]]:
    """Rows of ``digest_counts``, by owner."""
    found: dict[UUID, list[Count]] = defaultdict(list)
    for row in rows:
        count = Count(row["share_id"], row["country"], row["channel"], row["views"], row["items"])
        found[row["owner_id"]].append(count)
    return found


def _most_first(counts: Counter[str]) -> list[dict[str, Any]]:
    known = [(name, count) for name, count in counts.items() if count and name]
    return [{"name": name, "views": count} for name, count in sorted(known, key=lambda item: (-item[1], item[0]))]
