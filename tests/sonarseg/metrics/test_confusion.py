"""Confusion matrices against scikit-learn, and their text form."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonarseg.metrics.confusion import confusion, pack_confusions, unpack_confusions

K = 4
MAPS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 255])),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, K - 1)),
    )
)


@settings(deadline=None)
@given(MAPS)
def test_equals_scikit_learn_on_valid_pixels(maps):
    truth, predicted = maps
    valid = truth != 255
    expected = np.zeros((K, K), dtype=int)
    if valid.any():
        expected = sklearn.metrics.confusion_matrix(truth[valid], predicted[valid], labels=range(K))
    counted = confusion(truth, predicted, K)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_dtypes_and_read_only(dtype):
    truth = np.array([[0, 1], [1, 255]], dtype=dtype)
    predicted = np.array([[1, 1], [0, 0]], dtype=dtype)
    truth.setflags(write=False)
    predicted.setflags(write=False)
    np.testing.assert_array_equal(confusion(truth, predicted, 2), [[0, 1], [1, 1]])


def test_undecided_prediction_is_wrong_not_left_out():
    truth = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    predicted = np.full_like(truth, 255)
    counted = confusion(truth, predicted, 3)
    assert counted.sum() == 3
    assert np.trace(counted) == 0


def test_undecided_prediction_of_a_lone_class_is_refused():
    with pytest.raises(ValueError, match="one class"):
        confusion(np.zeros((1, 1), np.uint8), np.full((1, 1), 255, np.uint8), 1)


@pytest.mark.parametrize(
    ("truth", "predicted", "name"), [(3, 0, "truth"), (0, 3, "prediction"), (0, -1, "prediction")]
)
def test_ids_out_of_range_are_refused(truth, predicted, name):
    with pytest.raises(ValueError, match=name):
        confusion(np.array([[truth]]), np.array([[predicted]]), 3)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="equal"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@settings(deadline=None)
@given(
    st.tuples(st.integers(0, 5), st.integers(1, 6)).flatmap(
        lambda size: hnp.arrays(np.int64, (size[0], size[1], size[1]), elements=st.integers(0, 2**62))
    )
)
def test_packing_gives_back_the_counts(confusions):
    text = pack_confusions(confusions)
    assert text.isascii()
    unpacked = unpack_confusions(text)
    assert unpacked.shape == confusions.shape
    assert unpacked.dtype == np.int64
    np.testing.assert_array_equal(unpacked, confusions)


def test_packing_is_compact():
    # 100 tiles of 256 x 256 of which most hold one class, as in the surveys
    generator = np.random.default_rng(0)
    confusions = np.zeros((100, 4, 4), dtype=np.int64)
    for matrix in confusions:
        row = generator.integers(4)
        matrix[row] = generator.multinomial(256 * 256, generator.dirichlet(np.ones(4)))
    assert len(pack_confusions(confusions)) < 3000


@pytest.mark.parametrize(
    "text", ["", "1:2", "1:2:4:!!!!", "1:2:4:AAAA", "2:9:4:eJwDAAAAAAE=", "0:2:3:eJwDAAAAAAE="]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="packed list of confusion"):
        unpack_confusions(text)


@pytest.mark.parametrize("bad", [np.zeros((2, 2), int), np.zeros((1, 2, 3), int), -np.ones((1, 2, 2), int)])
def test_packing_refuses_what_is_no_list_of_counts(bad):
    with pytest.raises(ValueError, match="confusion"):
        pack_confusions(bad)
