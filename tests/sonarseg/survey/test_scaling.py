"""One scaling for a whole survey."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from sonarseg.survey.scaling import PERCENTILES, GreyScaling, fit_scaling, is_grey

TILES = ("a1", "a2", "a3", "b1", "c1", "c2", "d1")


def make_16_bit(root: Path, scale: float = 1.0) -> np.ndarray:
    """Replace all pictures by 16-bit ones; returns the train pixels."""
    rng = np.random.default_rng(5)
    train = []
    for tile in TILES:
        (root / "images" / f"{tile}.png").unlink()
        array = (rng.gamma(4, 2000 * scale, (6, 10))).clip(0, 65535).astype(np.uint16)
        tifffile.imwrite(root / "images" / f"{tile}.tif", array)
        if tile in ("a1", "a2", "a3", "b1"):
            train.append(array)
    return np.stack(train)


def test_8_bit_grey_stays_as_it_is(root: Path) -> None:
    scaling = fit_scaling(open_survey(root))
    assert scaling == GreyScaling(low=0, high=255, channels=1)
    image = open_survey(root).read_image("a1")
    np.testing.assert_array_equal(scaling.apply(image), image)


def test_16_bit_is_scaled_between_the_percentiles_of_train(root: Path) -> None:
    train = make_16_bit(root)
    scaling = fit_scaling(open_survey(root))
    low, high = np.percentile(train, [0.5, 99.5])
    assert scaling.low == pytest.approx(low, rel=0.3)
    assert scaling.high == pytest.approx(high, rel=0.3)
    scaled = scaling.apply(train[0])
    expected = np.round((train[0] - scaling.low) * 255 / (scaling.high - scaling.low)).clip(0, 255)
    assert np.abs(scaled.astype(int) - expected).max() <= 1


def test_the_same_value_becomes_the_same_grey_in_every_tile(root: Path) -> None:
    make_16_bit(root)
    scaling = fit_scaling(open_survey(root))
    one, other = np.full((2, 2), 9000, np.uint16), np.array([[9000, 100], [60000, 3]], np.uint16)
    assert scaling.apply(one)[0, 0] == scaling.apply(other)[0, 0]


def test_val_and_test_pixels_do_not_count(root: Path) -> None:
    make_16_bit(root)
    before = fit_scaling(open_survey(root))
    for tile in ("c1", "c2", "d1"):
        tifffile.imwrite(root / "images" / f"{tile}.tif", np.full((6, 10), 65535, np.uint16))
    assert fit_scaling(open_survey(root)) == before


def test_rgb_with_equal_channels_is_grey(root: Path) -> None:
    grey = np.asarray(Image.open(root / "images" / "a1.png"))
    Image.fromarray(np.dstack([grey] * 3)).save(root / "images" / "a1.png")
    survey = open_survey(root)
    assert is_grey(survey.read_image("a1"))
    scaling = fit_scaling(survey)
    assert scaling.channels == 1
    np.testing.assert_array_equal(scaling.apply(survey.read_image("a1")), grey)


def test_one_coloured_tile_makes_the_survey_rgb(root: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    Image.fromarray(colour).save(root / "images" / "a2.png")
    survey = open_survey(root)
    scaling = fit_scaling(survey)
    assert scaling.channels == 3
    np.testing.assert_array_equal(scaling.apply(survey.read_image("a2")), colour)
    grey = survey.read_image("a1")
    np.testing.assert_array_equal(scaling.apply(grey), np.dstack([grey] * 3))


def test_colours_become_their_mean_where_one_channel_is_wanted() -> None:
    image = np.array([[[10, 20, 60], [0, 0, 1]]], dtype=np.uint8)
    np.testing.assert_array_equal(GreyScaling(channels=1).apply(image), [[30, 0]])


def test_constant_16_bit_tiles_do_not_divide_by_zero(root: Path) -> None:
    make_16_bit(root, scale=0)
    scaling = fit_scaling(open_survey(root))
    assert scaling.high > scaling.low
    assert scaling.apply(np.zeros((2, 2), np.uint16)).dtype == np.uint8


def test_mixed_depths_are_refused_with_both_files(root: Path) -> None:
    (root / "images" / "a3.png").unlink()
    tifffile.imwrite(root / "images" / "a3.tif", np.zeros((6, 10), np.uint16))
    with pytest.raises(UserError, match=r"a1\.png has 8 bits but .*a3\.tif has 16"):
        fit_scaling(open_survey(root))


def test_an_empty_train_split_is_refused(root: Path) -> None:
    (root / "splits" / "train.txt").write_text("")
    with pytest.raises(UserError, match=r"train\.txt"):
        fit_scaling(open_survey(root))


def test_a_stored_scaling_comes_back() -> None:
    scaling = GreyScaling(low=12.5, high=4000, channels=3)
    assert GreyScaling.model_validate_json(scaling.model_dump_json()) == scaling


def scaling_of_bits(bits: int) -> GreyScaling:
    return {8: GreyScaling(), 16: GreyScaling(low=200, high=9000), 32: GreyScaling(low=-3, high=2, bits=32)}[
        bits
    ]


@pytest.mark.parametrize(
    ("model", "tile", "sentence"),
    [
        (8, np.full((2, 3), 9000, np.uint16), "t.tif has 16 bits, but .* pictures of 8 bits"),
        (8, np.full((2, 3, 3), 256, np.uint16), "t.tif has 16 bits, but .* pictures of 8 bits"),
        (16, np.full((2, 3), 90, np.uint8), "t.tif has 8 bits, but .* pictures of 16 bits"),
        (16, np.full((2, 3, 3), 90, np.uint8), "t.tif has 8 bits, but .* pictures of 16 bits"),
        (16, np.full((2, 3), 0.5, np.float32), "t.tif has 32 bits .floating point., but .* of 16 bits"),
        (32, np.full((2, 3), 90, np.uint16), "t.tif has 16 bits, but .* pictures of 32 bits"),
    ],
)
def test_a_tile_of_another_depth_is_refused(model: int, tile: np.ndarray, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scaling_of_bits(model).apply(tile, Path("t.tif"))


def test_8_bit_levels_in_a_16_bit_file_mean_the_same() -> None:
    # Workspaces of 8-bit levels saved as 16 bits noted no depth.
    levels = np.array([[0, 7, 255]], np.uint16)
    np.testing.assert_array_equal(GreyScaling().apply(levels), levels)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_scaling_of_an_older_workspace_has_the_depth_that_its_range_tells(bits: int) -> None:
    text = {8: '{"low":0.0,"high":255.0,"channels":1}', 16: '{"low":200.0,"high":9000.0,"channels":1}'}[bits]
    scaling = GreyScaling.model_validate_json(text)
    assert scaling.bits == bits
    # Stores and checkpoints that it made are found by the same text.
    assert scaling.model_dump_json() == text


def test_an_unusual_depth_is_stored() -> None:
    scaling = GreyScaling(low=0, high=255, bits=16)
    assert GreyScaling.model_validate_json(scaling.model_dump_json()) == scaling
    assert scaling != GreyScaling()


def test_16_bit_tiles_of_the_range_of_8_bits_are_known_as_such(root: Path) -> None:
    for tile in TILES:
        (root / "images" / f"{tile}.png").unlink()
        tifffile.imwrite(root / "images" / f"{tile}.tif", np.array([[0, 255] * 30] * 6, np.uint16))
    assert fit_scaling(open_survey(root)) == GreyScaling(low=0, high=255, bits=16)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_float_tiles_are_scaled_by_their_finite_values(root: Path, unit: float) -> None:
    ramp = np.linspace(1, 2, 60, dtype=np.float32).reshape(6, 10) * np.float32(unit)
    ramp[0, :3] = np.nan, np.inf, -np.inf
    for path in list((root / "images").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), ramp)
        path.unlink()
    scaling = fit_scaling(open_survey(root))
    low, high = np.percentile(ramp[np.isfinite(ramp)], PERCENTILES)
    assert (scaling.low, scaling.high) == pytest.approx((low, high), rel=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        levels = scaling.apply(open_survey(root).read_image("a1"))
    assert levels[0, :3].tolist() == [0, 255, 0]
    assert (np.diff(levels.ravel()[3:].astype(int)) >= 0).all()
    assert levels[-1, -1] == 255
    assert levels[0, 3] < 20


def test_float_tiles_of_one_value_or_none(root: Path) -> None:
    for path in list((root / "images").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), np.full((6, 10), 0.25, np.float32))
        path.unlink()
    scaling = fit_scaling(open_survey(root))
    assert (scaling.low, scaling.high) == (0.25, 1.25)
    for path in (root / "images").iterdir():
        tifffile.imwrite(path, np.full((6, 10), np.nan, np.float32))
    with pytest.raises(UserError, match=r"a1\.tif .*no pixel with data"):
        fit_scaling(open_survey(root))
