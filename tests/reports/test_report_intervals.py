"""Intervals drawn all at once are those of the plain bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.bootstrap import paired_intervals
from sonarseg.metrics.run_interval import paired_run_interval
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


def test_strips_and_runs_are_resampled_together() -> None:
    """The same law as the slow bootstrap draws from: the ends agree but for the chance of the draws."""
    generator = np.random.default_rng(3)
    truth = generator.integers(20, 50, (12, 3, 3))
    a, b = ([truth + generator.integers(0, 3 + 20 * run, (12, 3, 3)) for run in range(3)] for _ in range(2))
    expected = paired_run_interval(np.stack(a), np.stack(b), "miou", seed=1, resamples=4000)
    found = paired_intervals(a, b, "miou", groups=None, seed=0)
    width = expected[2] - expected[1]
    assert found[0] == pytest.approx(expected[0])
    assert found[1:] == pytest.approx(expected[1:], abs=0.08 * width)
    alone = paired_intervals(a[:1] * 3, b[:1] * 3, "miou", groups=None, seed=0)
    assert found[2] - found[1] > alone[2] - alone[1]


@pytest.mark.parametrize("strips", [1, 2, 5])
def test_few_strips_have_no_interval(strips: int) -> None:
    counts = np.random.default_rng(1).integers(1, 9, (20, 2, 2))
    groups = [f"strip {tile % strips}" for tile in range(20)]
    difference, low, high = paired_intervals([counts], [counts], "miou", groups=groups, seed=0)
    assert difference == 0
    assert math.isnan(low)
    assert math.isnan(high)
