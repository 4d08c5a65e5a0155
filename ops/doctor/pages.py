"""What our processes say of themselves, on ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 6.0
# See clients/metrics.py.
_CLOCK = "wishlist_clock_timestamp_seconds"

Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Page:
    """One process. *status* is None where it did not answer, for the reason *reason*.

    *ahead* is how far its clock is before this machine's, give or take *error*, in seconds. *failing* are its jobs that
    fail now, each with its last error.
    """

    name: str
    url: str
    status: int | None = None
    state: str = ""
    reason: str = ""
    samples: Sequence[Sample] = field(default=(), repr=False)
    ahead: float | None = None
    error: float = 0.0
    failing: Mapping[str, str] = field(default_factory=dict)

    def total(self, metric: str, **labels: str) -> float:
        """The sum of *metric* over all samples that have *labels*; 0 where there is none."""
        return sum(value for value in self.values(metric, **labels))

    def values(self, metric: str, **labels: str) -> list[float]:
        """Each sample of *metric* that has *labels*."""
        return [
            value
            for name, given, value in self.samples
            if name == metric and all(given.get(label) == wanted for label, wanted in labels.items())
        ]

    def labels(self, metric: str, label: str) -> set[str]:
        """The values of *label* in *metric*."""
        return {given[label] for name, given, _ in self.samples if name == metric and label in given}


async def scrape(processes: Iterable[tuple[str, str]]) -> list[Page]:
    """A page for each name and URL, all asked at once."""
    async with httpx.AsyncClient(timeout=_SECONDS) as http:
        return list(await asyncio.gather(*(_page(http, name, url) for name, url in processes)))


def between(before: Sequence[Page], after: Sequence[Page], metric: str, **labels: str) -> float:
    """By how much the counter *metric* has grown between two looks; a process that was started anew counts from 0."""
    earlier = {page.url: page.total(metric, **labels) for page in before}
    grown = 0.0
    for page in after:
        now, then = page.total(metric, **labels), earlier.get(page.url, 0.0)
        grown += now - then if now >= then else now
    return grown


async def _page(http: httpx.AsyncClient, name: str, url: str) -> Page:
    try:
        health = await http.get(f"{url}/healthz")
        state, reason, failing = _said(health)
        asked = time.time()
        figures = await http.get(f"{url}/metrics")
        answered = time.time()
        samples = tuple(
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(figures.text)
            for sample in family.samples
        )
    except (httpx.HTTPError, ValueError) as error:
        return Page(name, url, reason=str(error) or type(error).__name__)
    ahead, uncertain = clock_of(samples, figures.headers.get("date"), asked, answered)
    return Page(name, url, health.status_code, state, reason, samples, ahead, uncertain, failing)


def _said(health: httpx.Response) -> tuple[str, str, Mapping[str, str]]:
    """State, reason, and the jobs that fail now. A page of figures alone says none of them."""
    if "json" not in health.headers.get("content-type", ""):
        return "", "", {}
    body = health.json()
    return str(body.get("status") or ""), str(body.get("reason") or ""), body.get("failing_jobs") or {}


def clock_of(samples: Sequence[Sample], date: str | None, asked: float, answered: float) -> tuple[float | None, float]:
    """How far the clock of a page's process is ahead of ours, and how far that may be wrong, in seconds.

    Its own gauge was read between question and answer. Without one there is the header Date: it tells whole seconds,
    and servers write the one of their last tick, which is as late as their answers are.
    """
    middle, half = (asked + answered) / 2, (answered - asked) / 2
    for name, _, value in samples:
        if name == _CLOCK:
            return value - middle, half
    if date is None:
        return None, 0.0
    return parsedate_to_datetime(date).timestamp() + 0.5 - middle, 0.5 + 3 * half
