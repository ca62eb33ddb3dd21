"""The interval over tiles and runs against closed forms, and its edges."""

import math

import numpy as np
import pytest

from sonarseg.metrics.run_interval import paired_run_interval
from sonarseg.metrics.scores import METRICS, paired_interval
from tests.sonarseg.metrics.test_paired_interval import tiles_with

TILES = 30


def runs_with(right: np.ndarray) -> np.ndarray:
    """Runs of two-class tiles, right: int (R, T)."""
    return np.stack([tiles_with(run) for run in right])


def test_one_run_is_the_paired_interval() -> None:
    generator = np.random.default_rng(0)
    a, b = (
        runs_with(generator.integers(50, 90, (1, TILES))),
        runs_with(generator.integers(40, 80, (1, TILES))),
    )
    strips = [f"strip {i // 3}" for i in range(TILES)]
    expected = paired_interval(a[0], b[0], "miou", groups=strips, seed=4, resamples=200)
    assert paired_run_interval(a, b, "miou", groups=strips, seed=4, resamples=200) == expected


def test_the_difference_is_that_of_the_means_over_runs() -> None:
    generator = np.random.default_rng(1)
    a, b = (
        generator.multinomial(400, [0.3, 0.1, 0.2, 0.4], (4, TILES)).reshape(4, TILES, 2, 2) for _ in "ab"
    )
    for name in ("miou", "miou_multiclass", "miou_paper"):
        expected = np.mean([METRICS[name](run) for run in a]) - np.mean([METRICS[name](run) for run in b])
        found = paired_run_interval(a, b, name, seed=0, resamples=10)
        assert found[0] == pytest.approx(expected)
        assert found[1] <= found[2]


def test_the_spread_of_runs_alone_has_the_variance_of_their_mean() -> None:
    # All tiles of a run are alike, so drawing tiles adds nothing; the draws are means of R - 1 of R.
    gains = np.array([-6, 2, 9, 14, 3, 8])
    a = runs_with(60 + np.repeat(gains[:, None], TILES, axis=1))
    b = runs_with(np.full((6, TILES), 60))
    difference, low, high = paired_run_interval(a, b, "pixel_accuracy", seed=0, resamples=6000, level=0.6827)
    assert difference == pytest.approx(gains.mean() / 100)
    standard_error = gains.std(ddof=1) / math.sqrt(6) / 100
    assert (high - low) / 2 == pytest.approx(standard_error, rel=0.1)


def test_tiles_and_runs_add_their_variances() -> None:
    generator = np.random.default_rng(5)
    by_run, by_tile = generator.integers(-9, 9, (8, 1)), generator.integers(-20, 20, (1, TILES))
    a, b = runs_with(60 + by_run + by_tile), runs_with(np.full((8, TILES), 60))
    _, low, high = paired_run_interval(a, b, "pixel_accuracy", seed=0, resamples=6000, level=0.6827)
    expected = math.hypot(by_run.std(ddof=1) / math.sqrt(8), by_tile.std() / math.sqrt(TILES)) / 100
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_undefined_is_nan_and_wrong_shapes_are_refused() -> None:
    a = runs_with(np.full((2, 3), 50))
    assert all(math.isnan(v) for v in paired_run_interval(a, a, "miou_multiclass", seed=0, resamples=20))
    five = [f"strip {tile % 5}" for tile in range(12)]
    many = runs_with(np.full((2, 12), 50))
    difference, low, high = paired_run_interval(many, many, "miou", groups=five, seed=0)
    assert difference == 0
    assert math.isnan(low)
    assert math.isnan(high)
    for other, options, message in (
        (a[:1], {}, "equal"),
        (a, {"groups": ["s"]}, "groups"),
        (a, {"level": 95}, "level"),
    ):
        with pytest.raises(ValueError, match=message):
            paired_run_interval(a, other, "miou", seed=0, **options)
