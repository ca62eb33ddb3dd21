"""The paired bootstrap against scipy, its coverage, and its edges."""

import math

import numpy as np
import pytest
import scipy.stats

from sonarseg.metrics.scores import paired_interval, pixel_accuracy


def tiles_with(right: np.ndarray, of: int = 100) -> np.ndarray:
    """Two-class tiles of `of` pixels of class 0, `right` of them right."""
    confusions = np.zeros((len(right), 2, 2), dtype=np.int64)
    confusions[:, 0, 0] = right
    confusions[:, 0, 1] = of - np.asarray(right)
    return confusions


@pytest.fixture
def pair():
    generator = np.random.default_rng(3)
    a = generator.integers(50, 100, size=40)
    b = np.clip(a - generator.integers(-10, 20, size=40), 0, 100)
    return a, b


def test_equals_scipy_percentile_bootstrap(pair):
    a, b = pair
    difference, low, high = paired_interval(
        tiles_with(a), tiles_with(b), "pixel_accuracy", seed=0, resamples=20000
    )
    # With tiles of one size the accuracy of the survey is the mean over tiles
    expected = scipy.stats.bootstrap(
        ((a - b) / 100,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert difference == pytest.approx((a - b).mean() / 100)
    assert low == pytest.approx(expected.low, abs=1e-3)
    assert high == pytest.approx(expected.high, abs=1e-3)


def test_same_seed_same_interval_and_callable_equals_name(pair):
    a, b = map(tiles_with, pair)
    first = paired_interval(a, b, "pixel_accuracy", seed=5, resamples=200)
    assert first == paired_interval(a, b, pixel_accuracy, seed=5, resamples=200)
    assert first != paired_interval(a, b, "pixel_accuracy", seed=6, resamples=200)


def test_a_against_itself_is_exactly_zero(pair):
    a = tiles_with(pair[0])
    assert paired_interval(a, a, "miou", seed=0, resamples=100) == (0.0, 0.0, 0.0)


def test_swapping_turns_the_interval_round(pair):
    a, b = map(tiles_with, pair)
    difference, low, high = paired_interval(a, b, "pixel_accuracy", seed=0, resamples=500)
    turned = paired_interval(b, a, "pixel_accuracy", seed=0, resamples=500)
    assert turned == pytest.approx((-difference, -high, -low))


def test_tiles_of_one_strip_widen_the_interval():
    generator = np.random.default_rng(0)
    per_strip = generator.integers(-20, 20, size=10)
    a = np.full(80, 60)
    b = a - np.repeat(per_strip, 8)
    strips = [f"strip {i // 8}" for i in range(80)]

    def width(groups):
        _, low, high = paired_interval(
            tiles_with(a), tiles_with(b), "pixel_accuracy", groups=groups, seed=0, resamples=4000
        )
        return high - low

    # Eight copies of every strip: the honest interval is sqrt(8) times as wide as the one by tiles
    assert width(strips) / width(None) == pytest.approx(math.sqrt(8), rel=0.1)


def test_tiles_without_strip_are_groups_of_their_own(pair):
    a, b = map(tiles_with, pair)
    by_tile = paired_interval(a, b, "pixel_accuracy", seed=0, resamples=100)
    assert paired_interval(a, b, "pixel_accuracy", groups=[None] * 40, seed=0, resamples=100) == by_tile
    names = [str(i) for i in range(40)]
    assert paired_interval(a, b, "pixel_accuracy", groups=names, seed=0, resamples=100) == by_tile


def test_coverage_is_near_the_level():
    generator = np.random.default_rng(7)
    true_difference = 0.05
    covered = 0
    for seed in range(150):
        b = generator.binomial(100, 0.6, size=40)
        a = np.clip(b + generator.binomial(20, 0.25, size=40), 0, 100)
        _, low, high = paired_interval(
            tiles_with(a), tiles_with(b), "pixel_accuracy", seed=seed, resamples=150, level=0.9
        )
        covered += low <= true_difference <= high
    # 0.9 of 150 = 135, standard deviation 3.7
    assert 122 <= covered <= 146


@pytest.mark.parametrize("groups", [1, 2, 5, 6])
def test_few_groups_have_a_difference_but_no_interval(pair, groups):
    a, b = map(tiles_with, pair)
    names = [f"strip {tile % groups}" for tile in range(40)]
    difference, low, high = paired_interval(a, b, "pixel_accuracy", groups=names, seed=0)
    assert difference == pytest.approx((pair[0] - pair[1]).mean() / 100)
    assert math.isnan(low) == math.isnan(high) == (groups < 6)


def test_undefined_metric_is_nan_and_undefined_draws_are_left_out():
    single = tiles_with(np.array([10, 20, 30, 40, 50, 60]))
    assert all(
        math.isnan(value)
        for value in paired_interval(single, single, "miou_multiclass", seed=0, resamples=50)
    )
    several = np.array([[[5, 5], [2, 8]]])
    a = np.concatenate([single, several])
    b = a.copy()
    b[-1] = [[2, 8], [2, 8]]
    result = paired_interval(a, b, "miou_multiclass", seed=0, resamples=200)
    # Only one tile counts, so every defined draw gives the same difference
    assert result[0] > 0
    assert result == pytest.approx((result[0],) * 3)


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [(4, {}, "same"), (3, {"groups": ["s"]}, "groups"), (3, {"level": 95}, "level")],
)
def test_wrong_arguments_are_refused(other, options, message):
    a, b = tiles_with(np.arange(3)), tiles_with(np.arange(other))
    with pytest.raises(ValueError, match=message):
        paired_interval(a, b, "miou", seed=0, **options)
