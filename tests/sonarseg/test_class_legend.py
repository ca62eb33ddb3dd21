"""Maps of a run show each class in its colour, with a legend."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sonarseg import prediction
from sonarseg.class_colours import NO_DATA_RGB, class_rgb, colour_table
from sonarseg.class_legend import LINE, legend_lines, map_legend, shortened
from sonarseg.survey.pictures import read_mask_file, write_png
from sonarseg.survey.scaling import GreyScaling

CLASSES = ["sand", "rock", "mud", "a name far too long for a legend " * 30]


def colours_of(picture: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_the_legend_of_maps_shows_each_class_in_masks_and_in_overlays() -> None:
    legend = map_legend(CLASSES)
    assert legend.shape[1] < 900
    for index in range(len(CLASSES)):
        line = colours_of(legend[LINE * (index + 1) : LINE * (index + 2)])
        grey_tile = np.full((1, 1), 128, np.uint8)
        over = prediction.overlay(grey_tile, np.full((1, 1), index, np.uint8))
        assert {class_rgb(index), tuple(over[0, 0].tolist())} <= line
    assert NO_DATA_RGB in colours_of(legend[LINE * (len(CLASSES) + 1) :])


def test_legend_lines_keep_to_their_width() -> None:
    lines = legend_lines([f"class {index}" for index in range(24)], 300)
    assert [entry.index for line in lines for entry in line] == list(range(24))
    assert len(lines) > 5
    assert max(entry.left for line in lines for entry in line) < 300
    assert shortened("sand", 100) == "sand"
    assert shortened("sand and gravel", 40).endswith("…")


def test_maps_are_written_in_class_colours_with_a_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    tile = np.full((3, 4), 90, np.uint8)
    write_png(tmp_path / "t.png", tile)

    def probabilities(model: Any, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.eye(len(CLASSES), dtype=np.float32)[labels].transpose(2, 0, 1)

    monkeypatch.setattr(prediction, "predict_probabilities", probabilities)
    model = SimpleNamespace(classes=CLASSES, scaling=GreyScaling())
    prediction.predict_pictures(cast(Any, model), {"t": tmp_path / "t.png"}, tmp_path / "maps")
    mask = tmp_path / "maps" / "masks" / "t.png"
    np.testing.assert_array_equal(read_mask_file(mask), labels)
    with Image.open(mask) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colour_table()[labels])
    with Image.open(tmp_path / "maps" / "overlays" / "t.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), prediction.overlay(tile, labels))
    with Image.open(tmp_path / "maps" / "legend.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), map_legend(CLASSES))
