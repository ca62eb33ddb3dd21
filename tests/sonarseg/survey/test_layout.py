"""A survey opened from its folder, and whose masks it opens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.layout import classes_in_mask, open_survey

Edit = Callable[[Path, str, str], None]


def test_a_whole_survey(root: Path) -> None:
    survey = open_survey(root)
    assert survey.name == "survey"
    assert survey.classes == ("mud", "rock", "weed")
    assert survey.num_classes == 3
    assert survey.background is None
    assert survey.background_id is None
    assert survey.splits == {"train": ("a1", "a2", "a3", "b1"), "val": ("c1", "c2"), "test": ("d1",)}
    assert survey.groups["b1"] == "b"
    assert survey.opened == {"val"}
    np.testing.assert_array_equal(survey.read_image("a1"), np.asarray(Image.open(root / "images" / "a1.png")))


@pytest.mark.parametrize(("tile", "split"), [("a1", "train"), ("d1", "test"), ("unknown", None)])
def test_masks_of_closed_splits_stay_closed(root: Path, tile: str, split: str | None) -> None:
    survey = open_survey(root)
    with pytest.raises(PermissionError, match=tile):
        survey.read_mask(tile)
    if split is not None:
        assert survey.with_masks_of(split).read_mask(tile).shape == (6, 10)
        assert survey.opened == {"val"}


def test_val_masks_are_open(root: Path) -> None:
    np.testing.assert_array_equal(
        open_survey(root).read_mask("c1"), np.asarray(Image.open(root / "masks" / "c1.png"))
    )


def test_shown_never_looks_at_closed_masks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "labels.csv").unlink()
    opened: list[Path] = []
    read = "sonarseg.survey.layout.read_mask_file"
    monkeypatch.setattr(read, lambda path: opened.append(path) or np.zeros((6, 10), np.uint8))
    survey = open_survey(root)
    for tile in ("a1", "d1"):
        with pytest.raises(UserError, match=rf"labels\.csv has no row for the tile {tile}"):
            survey.shown(tile)
    assert opened == []
    survey.shown("c1")
    assert opened == [survey.mask_path("c1")]


def test_shown_is_the_row_and_the_background(root: Path) -> None:
    assert open_survey(root).shown("a2").tolist() == [False, True, False]
    assert open_survey(root, "mud").shown("a2").tolist() == [True, True, False]
    # The background's own column says nothing.
    assert open_survey(root, "mud").labels["a1"].tolist() == [False, False, False]
    survey = open_survey(root)
    survey.shown("a2")[:] = True
    assert survey.shown("a2").tolist() == [False, True, False]


def test_labels_come_before_masks(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "c2,0,0,1", "c2,1,0,0")
    assert open_survey(root).shown("c2").tolist() == [True, False, False]


def test_multiclass_counts_the_background(root: Path) -> None:
    assert not open_survey(root).multiclass("a2")
    assert open_survey(root).multiclass("b1")
    assert open_survey(root, "mud").multiclass("a2")
    assert not open_survey(root, "mud").multiclass("a1")


def test_a_class_without_a_column_is_the_background(root: Path) -> None:
    (root / "labels.csv").write_text("tile,mud,weed\na1,1,0\n")
    assert open_survey(root).background == "rock"
    assert open_survey(root).shown("a1").tolist() == [True, True, False]
    assert open_survey(root, "rock").background == "rock"
    with pytest.raises(UserError, match='no column "rock"'):
        open_survey(root, "mud")
    (root / "labels.csv").write_text("tile,weed\na1,1\n")
    with pytest.raises(UserError, match='no column "mud"'):
        open_survey(root)


def test_an_unknown_background(root: Path) -> None:
    with pytest.raises(UserError, match=r'background = "sand" is not in .*use one of mud, rock, weed'):
        open_survey(root, "sand")


def test_only_what_train_needs(root: Path) -> None:
    """No masks, no groups, labels for train alone, no val and no test."""
    for mask in (root / "masks").iterdir():
        mask.unlink()
    (root / "masks").rmdir()
    (root / "groups.csv").unlink()
    rows = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(rows[:5]))
    (root / "splits" / "val.txt").unlink()
    (root / "splits" / "test.txt").unlink()
    survey = open_survey(root)
    assert survey.splits == {"train": ("a1", "a2", "a3", "b1"), "val": (), "test": ()}
    assert survey.groups == {}
    assert not survey.has_mask("a1")


def test_a_val_tile_without_mask_and_labels_cannot_be_read(root: Path) -> None:
    (root / "labels.csv").unlink()
    (root / "masks" / "c1.png").unlink()
    survey = open_survey(root)
    assert not survey.has_labels("c1")
    assert survey.has_labels("c2")
    with pytest.raises(UserError, match="missing"):
        survey.read_mask("c1")


def test_train_must_be_listed_where_other_splits_are(root: Path) -> None:
    (root / "splits" / "train.txt").unlink()
    with pytest.raises(UserError, match=r"train\.txt is missing"):
        open_survey(root)


def test_splits_are_made_by_group_and_always_the_same(root: Path) -> None:
    for path in (root / "splits").iterdir():
        path.unlink()
    first, second = open_survey(root), open_survey(root)
    assert first.splits == second.splits
    assert sorted(sum(first.splits.values(), ())) == sorted(first.images)
    homes = {(first.groups[tile], first.split_of[tile]) for tile in first.images}
    assert len(homes) == len({strip for strip, _ in homes})
    assert np.any([first.labels[tile] for tile in first.splits["train"]], axis=0).all()


@pytest.mark.parametrize(("image", "mask"), [("a1.PNG", "a1.TIF"), ("a1.Tiff", "a1.PNG")])
def test_suffixes_of_any_case(root: Path, image: str, mask: str) -> None:
    for folder, name in (("images", image), ("masks", mask)):
        old = root / folder / "a1.png"
        kind = "PNG" if name.lower().endswith("png") else "TIFF"
        Image.open(old).save(root / folder / "partial", format=kind)
        old.unlink()
        (root / folder / "partial").rename(root / folder / name)
    survey = open_survey(root).with_masks_of("train")
    assert survey.image_path("a1").name == image
    assert survey.mask_path("a1").name == mask
    assert survey.read_image("a1").shape == survey.read_mask("a1").shape


def test_two_pictures_of_one_tile(root: Path) -> None:
    Image.open(root / "images" / "a1.png").save(root / "images" / "a1.tif")
    with pytest.raises(UserError, match=r"a1\.tif and a1\.png are two pictures of one tile"):
        open_survey(root)


def test_hidden_and_other_files_are_no_tiles(root: Path) -> None:
    (root / "images" / "._a1.png").write_bytes(b"finder")
    (root / "images" / "Thumbs.db").write_bytes(b"explorer")
    assert len(open_survey(root).images) == 7


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((6, 9), np.uint8), "9 x 6 pixels but its tile is 10 x 6"),
        (np.zeros((10, 6), np.uint8), "6 x 10 pixels but its tile is 10 x 6"),
        (np.full((6, 10), 3, np.uint8), "class id 3, but classes.txt has 3 classes"),
        (np.full((6, 10), 254, np.uint8), "class id 254"),
    ],
)
def test_masks_that_do_not_fit(root: Path, mask: np.ndarray, words: str) -> None:
    Image.fromarray(mask).save(root / "masks" / "c1.png")
    with pytest.raises(UserError, match=words):
        open_survey(root).read_mask("c1")


def test_a_folder_that_is_none_and_one_without_tiles(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        open_survey(tmp_path / "nothing")
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"holds no \.png"):
        open_survey(root)


def test_a_missing_picture_is_a_sentence(root: Path) -> None:
    (root / "images" / "a1.png").unlink()
    with pytest.raises(UserError, match=r"a1\.png is missing"):
        open_survey(root).read_image("a1")


def test_classes_in_mask_leaves_out_specks_and_counts_pixels_with_data() -> None:
    mask = np.full((10, 100), 255, np.uint8)
    mask.flat[:200] = 0
    mask.flat[:2] = 2
    mask.flat[198:199] = 1
    assert classes_in_mask(mask, 4).tolist() == [True, False, True, False]
    assert classes_in_mask(mask, 4, least_area=0).tolist() == [True, True, True, False]
    assert not classes_in_mask(np.full((3, 3), 255, np.uint8), 4).any()


@pytest.mark.parametrize("row", ["a1,,,", "a1", "a1, ,,"])
def test_a_tile_with_a_blank_row_is_not_labelled_yet_and_not_trained_on(
    root: Path, edit: Edit, row: str
) -> None:
    edit(root / "labels.csv", "a1,1,0,0", row)
    survey = open_survey(root)
    assert survey.splits["train"] == ("a2", "a3", "b1")
    assert not survey.has_labels("a1")
    with pytest.raises(PermissionError):
        survey.read_mask("a1")


def test_a_val_tile_with_a_blank_row_is_labelled_by_its_mask(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "c1,1,1,0", "c1,,,")
    survey = open_survey(root)
    assert survey.splits["val"] == ("c1", "c2")
    assert survey.shown("c1").tolist() == [True, True, False]
