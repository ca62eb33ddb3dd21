"""Swapped classes are seen, and poor ones are not taken for swapped."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sonarseg.metrics.class_swap import swapped_classes


def tiles(*matrices: list[list[int]]) -> NDArray[np.int64]:
    return np.array(matrices, dtype=np.int64)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[90, 5, 5], [2, 3, 95], [3, 90, 7]], {1: 2, 2: 1}),
        ([[0, 100, 0], [0, 0, 100], [100, 0, 0]], {0: 1, 1: 2, 2: 0}),
        ([[90, 5, 5], [2, 90, 8], [3, 7, 90]], {}),
        # A class that another one swallows is poor, not swapped.
        ([[90, 5, 5], [2, 3, 95], [3, 7, 90]], {}),
        # All at random
        ([[30, 35, 35], [35, 30, 35], [35, 35, 30]], {}),
    ],
)
def test_only_a_consistent_exchange_is_a_swap(matrix: list[list[int]], expected: dict[int, int]) -> None:
    assert swapped_classes(tiles(matrix)) == expected


def test_tiles_of_one_class_do_not_hide_a_swap() -> None:
    swapped = [[0, 50], [50, 0]]
    sure = [[5000, 0], [0, 0]]
    assert swapped_classes(tiles(swapped, sure)) == {0: 1, 1: 0}


def test_nothing_is_swapped_where_nothing_was_scored() -> None:
    assert swapped_classes(np.zeros((0, 3, 3), dtype=np.int64)) == {}
    assert swapped_classes(tiles([[50, 0], [0, 0]])) == {}
