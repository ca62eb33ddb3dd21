"""The studentised bootstrap against a plain loop, against closed forms, its coverage and its edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from sonarseg.metrics import bootstrap
from sonarseg.metrics.bootstrap import Interval, draw_strips, paired_interval
from sonarseg.metrics.iou import METRICS
from tests.support.slow_bootstrap import strips_of, studentised_interval
from tests.support.two_class_tiles import names, tiles_with


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    strips=st.integers(6, 9),
    classes=st.integers(2, 4),
    runs=st.integers(1, 2),
    metric=st.sampled_from(sorted(METRICS)),
)
def test_it_is_the_plain_loop(seed: int, strips: int, classes: int, runs: int, metric: str) -> None:
    generator = np.random.default_rng(seed)
    shape = (runs, 2 * strips, classes, classes)
    a, b = (generator.integers(1, 50, shape) for _ in "ab")
    groups = [*names(strips, 2)[:-1], None]
    times = draw_strips(40, strips + 1, np.random.default_rng(0))
    counts = np.stack([bootstrap.strip_counts(side, metric, groups) for side in (a, b)])
    value = float(bootstrap._difference(counts.sum(axis=2), metric).mean())
    found = bootstrap._ends(counts, metric, value, times, crossed=False)
    expected, low, high = studentised_interval(a, b, metric, groups, times)
    widened = math.sqrt((strips + 1) / strips)
    assert value == pytest.approx(expected)
    assert found == pytest.approx((value + widened * (low - value), value + widened * (high - value)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), metric=st.sampled_from(sorted(METRICS)))
def test_the_difference_is_that_of_the_means_over_runs(seed: int, metric: str) -> None:
    generator = np.random.default_rng(seed)
    shape = (3, 8, 4, 4)
    a, b = (generator.integers(0, 50, shape) * (generator.random(shape) < 0.4) for _ in "ab")
    a[:, 0] = b[:, 0] = 0  # a tile without a valid pixel
    scores = [[METRICS[metric](run) for run in side] for side in (a, b)]
    found = paired_interval(a, b, metric, groups=None, seeds=True)
    if None in scores[0] + scores[1]:
        assert math.isnan(found.value)
    else:
        assert found.value == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))


def test_of_many_normal_strips_it_is_the_t_interval() -> None:
    gains = np.random.default_rng(2).normal(0.05, 0.03, 60)
    found = paired_interval(
        tiles_with(0.5 + gains)[None], tiles_with(np.full(60, 0.5))[None], "pixel_accuracy", groups=names(60)
    )
    margin = student.ppf(0.975, 59) * gains.std(ddof=1) / math.sqrt(60)
    assert found.low == pytest.approx(gains.mean() - margin, abs=0.15 * margin)
    assert found.high == pytest.approx(gains.mean() + margin, abs=0.15 * margin)


def test_tiles_of_one_strip_add_nothing() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.05, 8)
    alone = paired_interval(
        tiles_with(0.5 + gains)[None], tiles_with(np.full(8, 0.5))[None], "pixel_accuracy", groups=names(8)
    )
    copies = np.repeat(gains, 5)
    found = paired_interval(
        tiles_with(0.5 + copies)[None],
        tiles_with(np.full(40, 0.5))[None],
        "pixel_accuracy",
        groups=names(8, 5),
    )
    assert found == alone


def test_swapping_turns_the_interval_round() -> None:
    generator = np.random.default_rng(4)
    a, b = (generator.integers(1, 50, (3, 16, 3, 3)) for _ in "ab")
    found = paired_interval(a, b, "miou", groups=names(8, 2), seeds=True)
    turned = paired_interval(b, a, "miou", groups=names(8, 2), seeds=True)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_a_side_against_itself_differs_by_nothing() -> None:
    a = np.random.default_rng(1).integers(1, 50, (1, 8, 3, 3))
    found = paired_interval(a, a, "miou", groups=names(8))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.certain


def test_one_strip_that_differs_is_not_evidence() -> None:
    gains = np.array([0.3, 0, 0, 0, 0, 0])
    found = paired_interval(
        tiles_with(0.5 + gains)[None], tiles_with(np.full(6, 0.5))[None], "pixel_accuracy", groups=names(6)
    )
    assert found.known
    assert not found.certain


def test_seeds_widen_the_interval_and_more_of_them_narrow_it() -> None:
    generator = np.random.default_rng(6)
    strips, runs = generator.normal(0, 0.03, 10), generator.normal(0, 0.04, 10)
    base = tiles_with(np.full((10, 10), 0.5))

    def width(pairs: int) -> float:
        gains = 0.5 + strips + runs[:pairs, None]
        found = paired_interval(
            tiles_with(gains), base[:pairs], "pixel_accuracy", groups=names(10), seeds=True
        )
        return found.high - found.low

    one = paired_interval(tiles_with(0.5 + strips)[None], base[:1], "pixel_accuracy", groups=names(10))
    assert one.high - one.low < width(10) < width(5) < width(3)


def test_runs_are_paired_by_seed() -> None:
    generator = np.random.default_rng(7)
    luck = generator.normal(0, 0.08, (5, 1))
    a = tiles_with(0.55 + luck + generator.normal(0, 0.01, (5, 12)))
    b = tiles_with(0.50 + luck + generator.normal(0, 0.01, (5, 12)))
    paired = paired_interval(a, b, "pixel_accuracy", groups=names(12), seeds=True)
    shuffled = paired_interval(a, b[[1, 2, 3, 4, 0]], "pixel_accuracy", groups=names(12), seeds=True)
    assert paired.certain
    assert shuffled.high - shuffled.low > 3 * (paired.high - paired.low)


@pytest.mark.parametrize(
    ("groups", "seeds", "runs", "missing"),
    [
        (names(5, 4), False, 1, "too few strips"),
        (None, False, 1, "no strips"),
        ([None] * 20, False, 1, "no strips"),
        (names(10, 2), True, 1, "too few seeds"),
        (names(10, 2), True, 2, "too few seeds"),
        (names(10, 2), True, 3, None),
        (names(6, 4)[4:], False, 1, "too few strips"),
    ],
)
def test_without_enough_evidence_there_is_no_interval(groups, seeds, runs, missing) -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.integers(1, 50, (runs, 20, 3, 3)) for _ in "ab")
    found = paired_interval(a, b, "miou", groups=groups, seeds=seeds)
    assert found.missing == missing
    assert found.known == (missing is None)
    assert not math.isnan(found.value)


def test_strips_that_the_metric_does_not_count_are_no_evidence() -> None:
    several = np.random.default_rng(0).integers(1, 50, (1, 8, 3, 3))
    several[:, 5:, 1:] = 0  # one class in the truth of the last three
    found = paired_interval(several, several[:, ::1] + 0, "miou_multiclass", groups=names(8))
    assert found.strips == 5
    assert found.missing == "too few strips"


def test_an_undefined_metric_has_no_difference() -> None:
    single = tiles_with(np.full(8, 0.5))[None]
    found = paired_interval(single, single, "miou_multiclass", groups=names(8))
    assert math.isnan(found.value)
    assert found.missing == "undefined"


@pytest.mark.parametrize("skewed", [False, True])
def test_coverage_at_six_strips(skewed: bool) -> None:
    """95 % within three Monte-Carlo errors (1.3 points); benchmarks/statistics.py has all cases."""
    generator = np.random.default_rng(11)
    covered, surveys = 0, 300
    base = tiles_with(np.full(6, 0.5))[None]
    for _ in range(surveys):
        noise = (generator.gamma(4, size=6) - 4) / 2 if skewed else generator.normal(size=6)
        found = paired_interval(
            tiles_with(0.52 + 0.03 * noise)[None], base, "pixel_accuracy", groups=names(6)
        )
        covered += found.low <= 0.02 <= found.high
    assert 0.91 <= covered / surveys <= 0.985


def test_coverage_with_three_seeds_crossed() -> None:
    generator = np.random.default_rng(12)
    covered, surveys = 0, 200
    base = tiles_with(np.full((3, 8), 0.5))
    for _ in range(surveys):
        noise = (
            generator.normal(size=8)
            + 0.5 * generator.normal(size=(3, 1))
            + 0.5 * generator.normal(size=(3, 8))
        )
        found = paired_interval(
            tiles_with(0.52 + 0.02 * noise), base, "pixel_accuracy", groups=names(8), seeds=True
        )
        covered += found.low <= 0.02 <= found.high
    assert covered / surveys >= 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": np.ones((1, 4, 2, 2), int)}, "equal"),
        ({"a": np.ones((3, 2, 2), int), "b": np.ones((3, 2, 2), int)}, "runs, tiles"),
        ({"groups": ["s"]}, "1 groups for 3 tiles"),
        ({"metric": "accuracy"}, "expected one of"),
        ({"a": np.ones((2, 3, 2, 2), int), "b": np.ones((2, 3, 2, 2), int)}, "without seeds"),
    ],
)
def test_wrong_arguments_are_refused(change, message) -> None:
    arguments = {
        "a": np.ones((1, 3, 2, 2), int),
        "b": np.ones((1, 3, 2, 2), int),
        "metric": "miou",
        "groups": None,
    }
    arguments |= change
    with pytest.raises(ValueError, match=message):
        paired_interval(arguments["a"], arguments["b"], arguments["metric"], groups=arguments["groups"])


def test_an_interval_tells_whether_it_is_certain() -> None:
    assert Interval(0.1, 0.05, 0.2).certain
    assert Interval(-0.1, -0.2, -0.05).certain
    assert not Interval(0.1, -0.05, 0.2).certain
    assert not Interval(0.1).certain
    assert len(strips_of(["a", None, "a", None])) == 3


def test_an_interval_stays_within_what_a_difference_of_scores_can_be() -> None:
    right = np.array([0.99, 0.98, 0.97, 0.99, 0.96, 0.5])
    found = paired_interval(
        tiles_with(right)[None], tiles_with(np.full(6, 0.01))[None], "pixel_accuracy", groups=names(6)
    )
    assert (found.low, found.high) == (-1, 1)
