"""The slope of a soak: what rises is found, what does not is not, and an outlier bends neither."""

from __future__ import annotations

import math
import random

from bench.trend import in_bins, slope


def noisy(rise: float, noise: float, seed: int, count: int = 30) -> list[tuple[float, float]]:
    dice = random.Random(seed)
    return [(float(n), rise * n + dice.gauss(0, noise)) for n in range(count)]


def test_a_line_has_its_slope() -> None:
    found = slope([(n, 3.0 * n + 7) for n in range(10)])
    assert (found.low, found.estimate, found.high) == (3.0, 3.0, 3.0)


def test_an_outlier_does_not_bend_it() -> None:
    samples = [(float(n), 2.0 * n) for n in range(20)]
    samples[-1] = (19.0, 10_000.0)
    found = slope(samples)
    assert found.estimate == 2.0
    assert found.low == 2.0


def test_the_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    for rise in (0.0, 0.5):
        found = [slope(noisy(rise, 1.0, seed)) for seed in range(300)]
        held = sum(one.low <= rise <= one.high for one in found)
        assert 0.92 * 300 <= held <= 300, held


def test_what_rises_is_told_from_what_does_not() -> None:
    assert slope(noisy(0.5, 1.0, 1)).low > 0
    assert slope(noisy(0.0, 1.0, 1)).low < 0 < slope(noisy(0.0, 1.0, 1)).high


def test_a_few_samples_say_nothing() -> None:
    assert slope([(0, 0), (1, 9), (2, 20)]).low == -math.inf
    assert math.isnan(slope([]).estimate)


def test_bins_are_medians() -> None:
    assert in_bins([(0, 1), (1, 5), (2, 3), (10, 7)], 10) == [(1, 3), (10, 7)]
