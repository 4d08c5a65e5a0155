"""Whether a series of samples rises: a slope that single outliers do not bend, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Sample = tuple[float, float]


@dataclass(frozen=True)
class Slope:
    """Rise for each unit of time: the estimate, and the interval that holds the true one with 95 % confidence."""

    estimate: float
    low: float
    high: float


def in_bins(samples: Sequence[Sample], seconds: float) -> list[Sample]:
    """The median of each stretch of so many seconds: neighbours say nearly the same, and would pass for certainty."""
    bins: dict[int, list[Sample]] = {}
    for at, value in samples:
        bins.setdefault(int(at // seconds), []).append((at, value))
    return [
        (statistics.median(at for at, _ in held), statistics.median(value for _, value in held))
        for _, held in sorted(bins.items())
    ]


def slope(samples: Sequence[Sample], confidence: float = 0.95) -> Slope:
    """Theil and Sen's: the median of the slopes between all pairs; its interval by Kendall's statistic.

    Source: P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968). Fewer than five
    samples say nothing: the interval is without end.
    """
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, earlier in enumerate(samples)
        for later in samples[number + 1 :]
        if later[0] > earlier[0]
    )
    count = len(samples)
    if count < 5 or not slopes:
        return Slope(statistics.median(slopes) if slopes else math.nan, -math.inf, math.inf)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    reach = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    low, high = int((len(slopes) - reach) / 2), math.ceil((len(slopes) + reach) / 2)
    return Slope(statistics.median(slopes), slopes[max(low, 0)], slopes[min(high, len(slopes) - 1)])
