"""The best constant guess is the one class that scores highest if it is predicted everywhere."""

import numpy as np
import pytest

from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.constant_guess import best_constant_guess, constant_confusions
from sonarseg.metrics.scores import METRICS


def test_counts_are_those_of_a_constant_picture() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (4, 6, 5))
    pixels = np.stack([np.bincount(tile.ravel(), minlength=3) for tile in truth])
    for k in range(3):
        expected = np.stack([confusion(tile, np.full_like(tile, k), 3) for tile in truth])
        np.testing.assert_array_equal(constant_confusions(pixels, k), expected)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_no_other_class_scores_higher(metric: str) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 50, (7, 4, 4)) * rng.integers(0, 2, (7, 4, 1))
    best, found = best_constant_guess(counts, metric)
    scores = [METRICS[metric](constant_confusions(counts.sum(axis=2), k)) or 0.0 for k in range(4)]
    assert scores[best] == max(scores) == METRICS[metric](found)


def test_the_class_depends_on_the_tiles_that_a_metric_counts() -> None:
    # Mud fills two tiles of its own; rock fills most of the one tile with both.
    truth = np.array([[100, 0], [100, 0], [20, 80]])
    counts = constant_confusions(truth, 0)
    assert best_constant_guess(counts, "miou")[0] == 0
    assert best_constant_guess(counts, "miou_multiclass")[0] == 1


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="metric is 'dice', expected one of miou"):
        best_constant_guess(np.ones((1, 2, 2), dtype=int), "dice")
