"""Splits that sonarseg makes and keeps, and strips that names tell."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.layout import open_survey
from sonarseg.survey.lists import read_groups
from sonarseg.survey.splits.lists import make_splits, write_splits
from sonarseg.survey.splits.strips_from_names import strips_from_names, write_groups


@pytest.fixture
def without_lists(root: Path) -> Path:
    shutil.rmtree(root / "splits")
    return root


def add_tile(root: Path, tile: str, *, labelled: bool = True) -> None:
    Image.new("L", (10, 6)).save(root / "images" / f"{tile}.png")
    if labelled:
        with (root / "labels.csv").open("a") as file:
            file.write(f"{tile},1,0,0\n")


def test_tiles_added_later_go_to_train_and_change_nothing_else(without_lists: Path) -> None:
    root = without_lists
    before = open_survey(root).splits
    write_splits(root, before, marked=True)
    assert open_survey(root).splits == before
    for tile in ("e2", "e1"):
        add_tile(root, tile)
    add_tile(root, "e3", labelled=False)
    survey = open_survey(root)
    assert survey.splits == {**before, "train": before["train"] + ("e1", "e2")}
    assert survey.added == ("e1", "e2")
    notes = " ".join(check_survey(root).notes)
    assert f"2 tiles, e1 for one, are in no list of {root / 'splits'} and trained on" in notes
    assert f"`sonarseg init {root} --resplit`" in notes


def test_an_added_tile_of_a_val_strip_is_not_trained_on(without_lists: Path) -> None:
    root = without_lists
    write_splits(root, {"train": ("a1", "b1"), "val": ("c1",), "test": ("d1",)}, marked=True)
    add_tile(root, "c-7")
    add_tile(root, "a-7")
    assert open_survey(root).added == ("a-7", "a2", "a3")


def test_lists_of_a_person_stay_as_they_are(root: Path) -> None:
    add_tile(root, "e1")
    survey = open_survey(root)
    assert survey.added == ()
    assert "e1" not in survey.split_of


def test_without_any_mask_all_labelled_tiles_are_trained_on(without_lists: Path) -> None:
    root = without_lists
    shutil.rmtree(root / "masks")
    add_tile(root, "e1", labelled=False)
    splits = open_survey(root).splits
    assert splits == {"train": ("a1", "a2", "a3", "b1", "c1", "c2", "d1"), "val": (), "test": ()}
    found = check_survey(root)
    assert found.problems == []
    assert any("holds no mask: all labelled tiles are trained on" in note for note in found.notes)


def test_masks_that_came_after_all_tiles_went_to_train_are_told(without_lists: Path) -> None:
    root = without_lists
    (root / "masks").rename(root / "drawn-later")
    write_splits(root, open_survey(root).splits, marked=True)
    (root / "drawn-later").rename(root / "masks")
    notes = " ".join(check_survey(root).notes)
    assert "7 train tiles have masks, but no tile is in val" in notes


def test_lists_that_are_replaced_are_kept(root: Path) -> None:
    old = (root / "splits" / "train.txt").read_text()
    for number in (1, 2):
        write_splits(root, open_survey(root).splits, marked=True, replace=True)
        assert (root / "splits" / f"before-{number}" / "train.txt").read_text() == old
    names = sorted(path.name for path in (root / "splits").iterdir())
    assert names == ["before-1", "before-2", "made_by_sonarseg.txt", "test.txt", "train.txt", "val.txt"]
    assert sorted(path.name for path in root.glob("splits*")) == ["splits"]


@pytest.mark.parametrize("form", ["line{}-00{}2", "t0{}_{}", "Line {} {}", "2024.07.1{}.{}"])
def test_names_that_count_along_lines_tell_strips(form: str) -> None:
    tiles = [form.format(line, tile) for line in range(6) for tile in range(2)]
    strips = strips_from_names([*tiles, "other"])
    assert set(strips) == set(tiles)
    assert len(set(strips.values())) == 6
    assert strips_from_names(tiles[2:]) == {}, "five lines are too few"


@pytest.mark.parametrize(
    "tiles", [["a-1", "b-1", "c-1", "d-1", "e-1", "f-1"], ["t1", "t2"] * 9, ["-1", "_2"]]
)
def test_other_names_tell_none(tiles: list[str]) -> None:
    assert strips_from_names(tiles) == {}


def test_written_strips_come_back_and_are_not_overwritten(without_lists: Path) -> None:
    root = without_lists
    with pytest.raises(UserError, match="not overwritten"):
        write_groups(root, {"a1": "x"})
    (root / "groups.csv").unlink()
    strips = {"a1": 'line, "4"', "b1": "b"}
    write_groups(root, strips)
    assert read_groups(root, []) == strips


def test_where_few_tiles_have_masks_their_strips_are_scored() -> None:
    """Seven masks on four of ten lines: all of them in val and test, the other lines in train."""
    tiles = [f"line{line}-{number}" for line in range(10) for number in range(6)]
    groups = {tile: tile.split("-")[0] for tile in tiles}
    labels = {tile: np.array([True, index % 2 == 0]) for index, tile in enumerate(tiles)}
    masked = {f"line{line}-{number}" for line in range(4) for number in range(2)} - {"line3-1"}
    splits = make_splits(tiles, groups, labels, has_masks=True, masked=masked)
    counts = {split: len(masked & set(names)) for split, names in splits.items()}
    assert counts == {"train": 0, "val": 4, "test": 3}
    strips = {split: {groups[tile] for tile in names} for split, names in splits.items()}
    assert strips["train"] == {f"line{line}" for line in range(4, 10)}
    assert not strips["val"] & strips["test"]


def test_a_class_that_only_a_strip_with_masks_shows_is_trained_on() -> None:
    tiles = [f"line{line}-{number}" for line in range(8) for number in range(2)]
    groups = {tile: tile.split("-")[0] for tile in tiles}
    labels = {tile: np.array([True, groups[tile] == "line0"]) for tile in tiles}
    splits = make_splits(tiles, groups, labels, has_masks=True, masked={"line0-0", "line1-0", "line2-0"})
    assert "line0-0" in splits["train"]
    assert "line1-0" in splits["val"]


def test_where_most_strips_have_masks_splits_are_dealt_as_ever() -> None:
    tiles = [f"line{line}-{number}" for line in range(6) for number in range(4)]
    groups = {tile: tile.split("-")[0] for tile in tiles}
    labels = {tile: np.array([True]) for tile in tiles}
    masked = {tile for tile in tiles if tile.endswith("0") and not tile.startswith("line0")}
    dealt = make_splits(tiles, groups, labels, has_masks=True)
    assert make_splits(tiles, groups, labels, has_masks=True, masked=masked) == dealt
