"""What guesses score that do not look at the picture: one class everywhere, or classes at random."""

import numpy as np
import pytest

from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.guesses import best_constant_guess, constant_confusions, random_guess
from sonarseg.metrics.iou import METRICS, miou


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


def test_a_prediction_that_has_nothing_to_do_with_the_truth_scores_as_the_random_guess() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, (3, 200, 200))
    predicted = rng.choice(4, truth.shape, p=[0.4, 0.3, 0.2, 0.1])
    counts = np.stack([confusion(t, p, 4) for t, p in zip(truth, predicted, strict=True)])
    guess = random_guess(counts)
    np.testing.assert_array_equal(guess.sum(axis=2), counts.sum(axis=2))
    np.testing.assert_allclose(guess.sum(axis=(0, 1)), counts.sum(axis=(0, 1)), atol=4 * 3 * 4)
    assert miou(guess) == pytest.approx(miou(counts), abs=0.005)
    constant = miou(best_constant_guess(counts, "miou")[1])
    assert constant is not None
    assert (miou(guess) or 0.0) > constant + 0.05


def test_the_random_guess_of_a_constant_prediction_is_that_prediction() -> None:
    counts = constant_confusions(np.array([[3, 5], [0, 7]]), 1)
    np.testing.assert_array_equal(random_guess(counts), counts)
    assert not random_guess(np.zeros((2, 3, 3), dtype=int)).any()
