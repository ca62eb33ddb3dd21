"""Boundary IoU against sets built pixel by pixel from the paper's definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonarseg.metrics.boundary import boundary_counts, boundary_iou, boundary_width, inner_boundary

K = 3
MAPS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 2, 255])),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 2])),
    )
)


def band(pixels: set[tuple[int, int]], width: int) -> set[tuple[int, int]]:
    """Pixels with a pixel outside the set at a chessboard distance of at most `width`."""
    steps = list(itertools.product(range(-width, width + 1), repeat=2))
    return {(r, c) for r, c in pixels if any((r + i, c + j) not in pixels for i, j in steps)}


def pixels_of(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for r, c in np.argwhere(mask)}


@settings(deadline=None)
@given(MAPS, st.integers(1, 3))
def test_counts_equal_sets(maps, width):
    truth, predicted = maps
    valid = truth != 255
    counts = boundary_counts(truth, predicted, K, width)
    assert counts.dtype == np.int64
    for label in range(K):
        true_band = band(pixels_of(truth == label), width)
        predicted_band = band(pixels_of((predicted == label) & valid), width)
        assert counts[0, label] == len(true_band & predicted_band)
        assert counts[1, label] == len(true_band | predicted_band)


@settings(deadline=None)
@given(MAPS)
def test_a_band_as_wide_as_the_tile_is_the_ordinary_iou(maps):
    truth, predicted = maps
    counts = boundary_counts(truth, predicted, K, 9)
    valid = truth != 255
    for label in range(K):
        true, said = truth == label, (predicted == label) & valid
        assert counts[:, label].tolist() == [(true & said).sum(), (true | said).sum()]


def test_hand_worked_square():
    truth = np.zeros((10, 10), dtype=np.uint8)
    truth[2:8, 2:8] = 1
    np.testing.assert_array_equal(inner_boundary(truth == 1, 1).sum(), 36 - 16)
    predicted = np.roll(truth, 1, axis=1)
    counts = boundary_counts(truth, predicted, 2, 1)
    # Rings of 20 pixels, shifted by one column: top and bottom rows share 5 each, the columns none
    assert counts[:, 1].tolist() == [10, 30]


def test_outlines_matter_more_than_in_iou():
    truth = np.zeros((100, 100), dtype=np.uint8)
    truth[10:90, 10:90] = 1
    predicted = np.zeros_like(truth)
    predicted[12:88, 12:88] = 1
    intersection, union = boundary_counts(truth, predicted, 2, 3)[:, 1]
    assert (76 * 76) / (80 * 80) > 0.9
    assert intersection / union < 0.25


def test_sums_over_tiles_and_absent_classes():
    right = np.array([[12, 0, 0], [12, 0, 0]])
    wrong = np.array([[0, 4, 0], [12, 8, 0]])
    assert boundary_iou(right + wrong) == pytest.approx((12 / 24 + 4 / 8) / 2)
    assert boundary_iou(np.zeros((2, 3), int)) is None


@pytest.mark.parametrize(("height", "width", "expected"), [(256, 256, 7), (83, 166, 4), (3, 4, 1)])
def test_width_is_a_share_of_the_diagonal(height, width, expected):
    assert boundary_width(height, width) == expected


def test_wrong_arguments_are_refused():
    tile = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="equal"):
        boundary_counts(tile, tile.T, 2, 1)
    with pytest.raises(ValueError, match="wide"):
        boundary_counts(tile, tile, 2, 0)
