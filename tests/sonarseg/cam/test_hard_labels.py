"""Background score and argmax over the shown classes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonarseg.cam.hard_labels import DEFAULT_BACKGROUND_SCORE, argmax_labels, with_background

SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    elements=st.floats(0, 1, width=32),
)


@settings(deadline=None)
@given(SCORES, st.data())
def test_argmax_is_the_loop_over_pixels(scores, data):
    shown = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    labels = argmax_labels(scores, shown)
    assert labels.dtype == np.uint8
    for row, column in np.ndindex(scores.shape[1:]):
        best = 255
        for k in np.flatnonzero(shown):
            if best == 255 or scores[k, row, column] > scores[best, row, column]:
                best = k
        assert labels[row, column] == best


def test_background_is_a_constant_in_a_copy():
    scores = np.random.default_rng(0).random((3, 4, 5))
    scores.setflags(write=False)
    result = with_background(scores, 1, 0.4)
    assert result.dtype == np.float32
    assert (result[1] == np.float32(0.4)).all()
    np.testing.assert_array_equal(result[[0, 2]], scores[[0, 2]].astype(np.float32))
    assert (with_background(scores, 1, None)[1] == np.float32(DEFAULT_BACKGROUND_SCORE)).all()
    assert (with_background(scores, 0, 0.0)[0] == 0).all()


def test_without_background_the_scores_stay():
    scores = np.random.default_rng(0).random((2, 3, 3)).astype(np.float32)
    result = with_background(scores, None, 0.9)
    np.testing.assert_array_equal(result, scores)
    assert not np.shares_memory(result, scores)


def test_background_wins_where_no_class_reaches_it():
    scores = np.array([[[0.2, 0.5]], [[0.0, 0.0]]], dtype=np.float32)
    labels = argmax_labels(with_background(scores, 1, 0.3), np.ones(2, bool))
    assert labels.tolist() == [[1, 0]]
