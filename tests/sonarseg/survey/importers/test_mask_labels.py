"""labels.csv from masks."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.importers.mask_labels import labels_from_masks, write_labels
from sonarseg.survey.layout import open_survey


def test_the_labels_that_the_masks_were_drawn_from(root: Path) -> None:
    before = open_survey(root).labels
    (root / "labels.csv").unlink()
    assert write_labels(root) == root / "labels.csv"
    after = open_survey(root).labels
    assert {tile: row.tolist() for tile, row in after.items()} == {
        t: row.tolist() for t, row in before.items()
    }


@pytest.mark.parametrize(("least_area", "rock"), [(0.0, 1), (0.01, 1), (0.05, 1), (0.06, 0), (0.9, 0)])
def test_the_least_area_is_a_share_of_pixels_with_data(root: Path, least_area: float, rock: int) -> None:
    mask = np.zeros((6, 10), np.uint8)
    mask[:2] = 255
    mask[2, :2] = 1
    Image.fromarray(mask).save(root / "masks" / "a1.png")
    assert labels_from_masks(root, least_area)["a1"].tolist() == [True, bool(rock), False]


def test_the_background_gets_no_column(root: Path) -> None:
    (root / "labels.csv").unlink()
    write_labels(root, background="mud")
    with (root / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["tile", "rock", "weed"]
    assert ["b1", "1", "0"] in rows
    assert open_survey(root).background == "mud"


def test_tiles_without_a_mask_are_left_out(root: Path) -> None:
    (root / "masks" / "d1.png").unlink()
    assert labels_from_masks(root).keys() == {"a1", "a2", "a3", "b1", "c1", "c2"}


def test_labels_are_made_once(root: Path) -> None:
    before = (root / "labels.csv").read_text()
    with pytest.raises(UserError, match="not overwritten"):
        write_labels(root)
    assert (root / "labels.csv").read_text() == before


def test_a_wrong_mask_leaves_no_file(root: Path) -> None:
    (root / "labels.csv").unlink()
    Image.fromarray(np.full((6, 10), 9, np.uint8)).save(root / "masks" / "d1.png")
    with pytest.raises(UserError, match=r"d1\.png holds the class id 9"):
        write_labels(root)
    assert not list(root.glob("labels.csv*"))


def test_nothing_to_make_labels_from(root: Path) -> None:
    (root / "labels.csv").unlink()
    with pytest.raises(UserError, match="sand"):
        write_labels(root, background="sand")
    with pytest.raises(UserError, match="share of a tile"):
        labels_from_masks(root, 1.5)
    for path in (root / "masks").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no mask"):
        write_labels(root)


def test_class_names_with_commas_come_back(root: Path) -> None:
    (root / "labels.csv").unlink()
    (root / "classes.txt").write_text('mud\n"rock", coarse\nweed\n')
    write_labels(root)
    assert open_survey(root).labels["a2"].tolist() == [False, True, False]
