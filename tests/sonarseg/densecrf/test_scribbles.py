"""Tiles filled from a person's strokes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sonarseg.densecrf.published import published
from sonarseg.densecrf.scribbles import UNSET, fill_from_strokes
from sonarseg.errors import UserError

SETTING = published("w-s3Tseg")
SIZE = (64, 80)


def _tile() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Smooth floor left, floor of the same brightness with ripples right; the picture and its classes."""
    generator = np.random.default_rng(0)
    grey = np.full(SIZE, 100.0)
    grey[:, 40:] += 50 * np.sign(np.sin(np.arange(40) * 1.5))
    picture = (grey * generator.gamma(20, 1 / 20, SIZE)).clip(0, 255).astype(np.uint8)
    truth = np.zeros(SIZE, np.uint8)
    truth[:, 40:] = 2
    return picture, truth


def _strokes() -> NDArray[np.int16]:
    strokes = np.full(SIZE, UNSET, np.int16)
    strokes[10:50, 10:13] = 0
    strokes[10:50, 65:68] = 2
    return strokes


def test_texture_tells_where_the_strokes_do_not_reach() -> None:
    picture, truth = _tile()
    filled = fill_from_strokes(_strokes(), picture, 3, SETTING)
    assert filled.dtype == np.uint8
    assert (filled == truth).mean() > 0.95
    rgb = np.repeat(picture[..., None], 3, axis=2)
    assert (fill_from_strokes(_strokes(), rgb, 3, SETTING) == truth).mean() > 0.95


def test_a_few_wrong_pixels_of_a_stroke_are_outvoted() -> None:
    picture, truth = _tile()
    strokes = _strokes()
    strokes[12:50:12, 11] = 2
    filled = fill_from_strokes(strokes, picture, 3, SETTING)
    assert (filled[12:50:12, 11] == 0).all()
    assert (filled == truth).mean() > 0.95


def test_strokes_and_pixels_without_data_stay_without_a_class() -> None:
    picture, _ = _tile()
    strokes = _strokes()
    strokes[:3] = 255
    valid = np.ones(SIZE, np.bool_)
    valid[:, -5:] = False
    filled = fill_from_strokes(strokes, picture, 3, SETTING, valid)
    assert (filled[:3] == 255).all()
    assert (filled[:, -5:] == 255).all()
    assert (filled[3:, :-5] != 255).all()


def test_one_class_fills_the_tile_and_none_leaves_it_empty() -> None:
    picture, _ = _tile()
    strokes = np.full(SIZE, UNSET, np.int16)
    assert (fill_from_strokes(strokes, picture, 3, SETTING) == 255).all()
    strokes[5, 5] = 1
    assert (fill_from_strokes(strokes, picture, 3, SETTING) == 1).all()


def test_a_tile_of_one_grey_level_is_shared_by_distance() -> None:
    filled = fill_from_strokes(_strokes(), np.full(SIZE, 90, np.uint8), 3, SETTING)
    assert (filled[:, :30] == 0).all()
    assert (filled[:, 50:] == 2).all()


@pytest.mark.parametrize("wrong", [3, -2, 300])
def test_unknown_classes_are_refused(wrong: int) -> None:
    strokes = _strokes()
    strokes[0, 0] = wrong
    with pytest.raises(UserError, match="unknown class"):
        fill_from_strokes(strokes, _tile()[0], 3, SETTING)


def test_strokes_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match="load the page again"):
        fill_from_strokes(_strokes()[1:], _tile()[0], 3, SETTING)
