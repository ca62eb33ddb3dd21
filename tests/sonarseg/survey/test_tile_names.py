"""Names of tiles: what a list writes is what it reads."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sonarseg.densecrf.files.scores import find_score_files
from sonarseg.errors import UserError
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.importers.mask_labels import labels_from_masks, write_labels
from sonarseg.survey.layout import open_survey
from sonarseg.survey.splits.lists import write_splits
from sonarseg.survey.tile_names import listed_name, tile_name, unlistable


@given(name=st.text(st.characters(exclude_characters="/\0\r\n", exclude_categories=["Cs"]), min_size=1))
def test_every_listed_name_is_read_back(name: str) -> None:
    tile = tile_name(f"{name}.png")
    assert tile_name(listed_name(tile)) == tile


def rename(root: Path, old: str, new: str) -> None:
    for folder in ("images", "masks"):
        (root / folder / f"{old}.png").rename(root / folder / f"{new}.png")


@pytest.mark.parametrize(
    "name", ["a1.tif", "a1.png", "a1.JPG", "a1 ", " a1", "a1.tif.TIFF", 'a,"1', "ä1.jpeg"]
)
def test_lists_that_are_written_can_be_read_again(root: Path, name: str) -> None:
    rename(root, "a1", name)
    (root / "labels.csv").unlink()
    (root / "groups.csv").unlink()
    splits = {split: (root / "splits" / f"{split}.txt") for split in ("train", "val", "test")}
    for path in splits.values():
        path.unlink()
    write_labels(root)
    made = open_survey(root)
    write_splits(root, made.splits)
    read = open_survey(root)
    assert read.splits == made.splits
    assert read.labels.keys() == read.images.keys()
    assert check_survey(root, masks=("train", "val", "test")).problems == []


def test_a_list_without_the_suffix_is_told_how_to_name_the_tile(root: Path) -> None:
    rename(root, "a1", "a1.tif")
    problems = check_survey(root).problems
    assert len(problems) == 2
    assert all("the tile a1 has no picture in images; there is a1.tif.png" in told for told in problems)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a1\n2", r"a1\\n2\.png: the name of this tile breaks the line in lists: rename the file"),
        ("\ufeffa1", r"\\ufeffa1\.png: .* byte order mark"),
        (os.fsdecode(b"a1\xe9"), r"a1\\udce9\.png: .* UTF-8"),
        ("a\x1b[31m", r"a\\x1b\[31m\.png: .* control character"),
        (" ", "is empty"),
        ("a2.tif", r"a2\.tif\.png: the name of this tile reads as that of a2\.png"),
    ],
)
def test_names_that_no_list_can_hold_are_refused(root: Path, name: str, words: str) -> None:
    rename(root, "a1", name)
    with pytest.raises(UserError, match=words):
        labels_from_masks(root)
    assert any(
        str(root / "images") in problem and "rename the file" in problem
        for problem in check_survey(root).problems
    )


def test_usual_names_are_no_problem() -> None:
    paths = {name: Path(f"{name}.png") for name in ("a.b", "a", "tile 1", "a,b", "Größe")}
    assert unlistable(paths) == []


def test_scores_belong_to_the_tile_whose_name_they_bear(tmp_path: Path) -> None:
    for folder in ("scores", "images"):
        (tmp_path / folder).mkdir()
    for name in ("t1.tif", "t2"):
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        np.save(tmp_path / "scores" / f"{name}.npy", np.zeros((2, 4, 5), np.float32))
    np.save(tmp_path / "scores" / "t2.npy", np.zeros((2, 4, 5), np.float32))
    (tmp_path / "scores" / "t2.npy").rename(tmp_path / "scores" / "t2.png.npy")
    files = find_score_files(tmp_path / "scores", tmp_path / "images", tmp_path / "out")
    assert {name: path.name for name, path in files.pictures.items()} == {
        "t1.tif": "t1.tif.png",
        "t2": "t2.png",
    }


def test_a_table_of_labels_names_the_tile_with_its_suffix(root: Path) -> None:
    rename(root, "a1", "a1.tif")
    (root / "labels.csv").unlink()
    write_labels(root)
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:3] == ["a1.tif.png", "a2"]
