"""Percentiles from a histogram of fixed size, against numpy on all the values."""

import numpy as np
import pytest

from differseg.runtime.timing import Histogram, StageTimes


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_within_two_percent(seed):
    values = np.random.default_rng(seed).lognormal(2.0, 1.0, 5000)
    histogram = Histogram()
    for value in values:
        histogram.add(float(value))
    for percent in (5, 50, 95, 99):
        assert histogram.percentile(percent) == pytest.approx(
            np.percentile(values, percent), rel=0.02
        )
    assert histogram.max_ms == values.max()
    assert histogram.percentile(100) <= values.max()


def test_extremes():
    histogram = Histogram()
    assert histogram.percentile(50) == 0.0
    for value in (0.0, -1.0, float("nan"), 1e-9, 1e12):
        histogram.add(value)
    assert histogram.count == 4, "NaN is no duration"
    assert histogram.percentile(1) <= 0.0011
    assert histogram.percentile(100) <= 1e12


def test_memory_does_not_grow():
    histogram = Histogram()
    bins = len(histogram._bins)
    for k in range(10_000):
        histogram.add(k)
    assert len(histogram._bins) == bins < 2000


def test_stages():
    times, into = StageTimes(), {}
    with times.measure("infer", into):
        pass
    times.add("infer", into["infer"] + 1.0)
    summary = times.summary()
    assert list(summary) == ["infer"]
    assert summary["infer"].count == 2
    assert summary["infer"].max == pytest.approx(into["infer"] + 1.0, abs=1e-3)
