"""Strokes that are simulated from a mask."""

import labelling
import numpy as np
import pytest

from sonarseg.densecrf.scribbles import UNSET


@pytest.mark.parametrize("count", [1, 3])
def test_strokes_cover_a_small_share_mostly_of_the_right_class(count: int) -> None:
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 70:] = 2
    mask[:5] = 255
    strokes = labelling.simulated_strokes(mask, count, 3, np.random.default_rng(0))
    drawn = strokes != UNSET
    assert set(np.unique(strokes)) == {UNSET, 0, 2}
    assert 0.01 < drawn.mean() < 0.08
    right = strokes[drawn & (mask != 255)] == mask[drawn & (mask != 255)]
    assert 0.85 < right.mean() < 1


def test_saves_are_timed_one_by_one() -> None:
    times = labelling.save_seconds(5)
    assert len(times) == 5
    assert min(times) > 0
