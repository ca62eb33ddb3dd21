"""Intervals drawn all at once are those of the plain bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.bootstrap import paired_intervals
from sonarseg.metrics.scores import METRICS, paired_interval


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tiles=st.integers(1, 20),
    classes=st.integers(1, 4),
    strips=st.integers(0, 9),
    metric=st.sampled_from(sorted(METRICS)),
)
def test_the_draws_are_those_of_the_plain_bootstrap(
    seed: int, tiles: int, classes: int, strips: int, metric: str
) -> None:
    generator = np.random.default_rng(seed)
    shape = (tiles, classes, classes)
    a, b = (generator.integers(0, 50, shape) * (generator.random(shape) < 0.4) for _ in range(2))
    b[0], a[0] = 0, 0  # a tile without a valid pixel
    groups = [None if i % 5 == 4 else f"s{i % strips}" for i in range(tiles)] if strips else None
    expected = paired_interval(a, b, metric, groups=groups, seed=7)
    found = paired_intervals([a], [b], metric, groups=groups, seed=7)
    assert found == pytest.approx(expected, nan_ok=True)


def test_runs_are_averaged_before_they_are_compared() -> None:
    generator = np.random.default_rng(3)
    runs = [generator.integers(1, 50, (6, 3, 3)) for _ in range(4)]

    def mean(stacked: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(np.mean([METRICS["miou"](stacked[:, run]) for run in range(2)]))

    a, b = np.stack(runs[:2], axis=1), np.stack(runs[2:], axis=1)
    expected = paired_interval(a, b, mean, seed=0)
    assert paired_intervals(runs[:2], runs[2:], "miou", groups=None, seed=0) == pytest.approx(expected)


@pytest.mark.parametrize("strips", [1, 2, 5])
def test_few_strips_have_no_interval(strips: int) -> None:
    counts = np.random.default_rng(1).integers(1, 9, (20, 2, 2))
    groups = [f"strip {tile % strips}" for tile in range(20)]
    difference, low, high = paired_intervals([counts], [counts], "miou", groups=groups, seed=0)
    assert difference == 0
    assert math.isnan(low)
    assert math.isnan(high)
