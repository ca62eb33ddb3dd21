"""Average precision against its definition by ranks, and against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.metrics.average_precision import average_precision


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_equals_the_mean_precision_at_the_hits(tiles, seed):
    generator = np.random.default_rng(seed)
    labels = generator.random((tiles, 3)) < 0.4
    scores = generator.permuted(np.tile(np.arange(tiles, dtype=float), (3, 1)), axis=1).T
    for k, value in enumerate(average_precision(labels, scores)):
        ranked = labels[np.argsort(-scores[:, k]), k]
        precisions = [ranked[: i + 1].mean() for i in np.flatnonzero(ranked)]
        assert value == (pytest.approx(np.mean(precisions)) if precisions else None)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equal_scores_count_together(tiles, levels, seed):
    generator = np.random.default_rng(seed)
    labels = generator.random((tiles, 2)) < 0.5
    scores = generator.integers(0, levels, (tiles, 2)) / levels
    for k, value in enumerate(average_precision(labels, scores)):
        expected = (
            sklearn.metrics.average_precision_score(labels[:, k], scores[:, k])
            if labels[:, k].any()
            else None
        )
        assert value == (None if expected is None else pytest.approx(expected))


def test_no_tiles_is_none():
    assert average_precision(np.zeros((0, 2), bool), np.zeros((0, 2))) == [None, None]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="equal"):
        average_precision(np.zeros((3, 2), bool), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        average_precision(np.ones((2, 1), bool), np.array([[1.0], [np.nan]]))
