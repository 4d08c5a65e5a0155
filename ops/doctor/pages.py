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

Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Page:
    """One process. *status* is None where it did not answer, for the reason *reason*.

    *ahead* is how far its clock is before this machine's, in seconds; it tells whole ones. *failing* are its jobs that
    fail now, each with its last error.
    """

    name: str
    url: str
    status: int | None = None
    state: str = ""
    reason: str = ""
    samples: Sequence[Sample] = field(default=(), repr=False)
    ahead: float | None = None
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
        asked = time.time()
        health = await http.get(f"{url}/healthz")
        ahead = _ahead(health, asked, time.time())
        state, reason, failing = _said(health)
        figures = await http.get(f"{url}/metrics")
        samples = tuple(
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(figures.text)
            for sample in family.samples
        )
    except (httpx.HTTPError, ValueError) as error:
        return Page(name, url, reason=str(error) or type(error).__name__)
    return Page(name, url, health.status_code, state, reason, samples, ahead, failing)


def _said(health: httpx.Response) -> tuple[str, str, Mapping[str, str]]:
    """State, reason, and the jobs that fail now. A page of figures alone says none of them."""
    if "json" not in health.headers.get("content-type", ""):
        return "", "", {}
    body = health.json()
    return str(body.get("status") or ""), str(body.get("reason") or ""), body.get("failing_jobs") or {}


def _ahead(answer: httpx.Response, asked: float, answered: float) -> float | None:
    """The clock that wrote *answer* against ours: 0 where the second that it names may be one of ours."""
    if "date" not in answer.headers:
        return None
    theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    if theirs > answered:
        return theirs - answered
    return min(0.0, theirs + 1 - asked)
