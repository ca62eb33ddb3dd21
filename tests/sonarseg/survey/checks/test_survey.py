"""What a check finds: counts against the survey as built, and every problem by its file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.checks import tally
from sonarseg.survey.checks.survey import SurveyCheck, check_survey

Edit = Callable[[Path, str, str], None]


def table(check: SurveyCheck) -> dict[str, tuple[str, ...]]:
    rows = {row[0]: row[1:] for row in check.rows}
    assert len(rows) == len(check.rows)
    assert all(len(row) == len(check.header) for row in check.rows)
    return rows


def test_a_good_survey(root: Path) -> None:
    check = check_survey(root)
    assert check.problems == []
    assert check.notes == []
    assert check.background is None
    assert check.proposed_background is None
    rows = table(check)
    assert check.header == ("", "train", "val", "test")
    assert rows["tiles"] == ("4", "2", "1")
    assert rows["size (width x height)"] == ("10 x 6",) * 3
    assert rows["pictures"] == ("8-bit grey",) * 3
    assert rows["tiles with image-level labels"] == ("4", "2", "1")
    assert rows["tiles labelled mud"] == ("2 (50.0%)", "1 (50.0%)", "1 (100.0%)")
    assert rows["two or more classes, by labels"] == ("25.0%", "50.0%", "100.0%")
    assert rows["masks"] == ("4", "2", "1")
    # c1: 4 columns of mud and 5 of rock, c2: 9 columns of weed, 1 of 10 without data
    assert rows["pixels of mud"] == ("-", "22.2%", "-")
    assert rows["pixels of rock"] == ("-", "27.8%", "-")
    assert rows["pixels of weed"] == ("-", "50.0%", "-")
    assert rows["pixels without data"] == ("-", "10.0%", "-")
    assert rows["two or more classes, by masks"] == ("-", "50.0%", "-")


def test_masks_of_train_and_test_stay_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = tally.read_mask_file
    monkeypatch.setattr(tally, "read_mask_file", lambda path: opened.append(path.stem) or read(path))
    check_survey(root)
    assert opened == ["c1", "c2"]
    for tile in ("a1", "d1"):
        (root / "masks" / f"{tile}.png").write_bytes(b"noise")
    assert check_survey(root).problems == []
    problems = check_survey(root, masks=("train", "val", "test")).problems
    assert [tile in problem for tile, problem in zip(("a1", "d1"), problems, strict=True)] == [True, True]


def test_all_masks_where_asked(root: Path) -> None:
    rows = table(check_survey(root, masks=("train", "val", "test")))
    assert rows["pixels of weed"] == ("25.0%", "50.0%", "55.6%")


def test_progress_counts_every_tile(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_survey(root, progress=lambda what, done, total, note="": seen.append((done, total)))
    assert seen == [(number, 7) for number in range(1, 8)]


def test_every_problem_at_once(root: Path, edit: Edit) -> None:
    """Each named problem of the list, all in one survey, each by its own file."""
    (root / "images" / "a1.png").write_bytes(b"not a picture")
    (root / "images" / "a2.png").unlink()
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(root / "masks" / "c1.png")
    Image.fromarray(np.full((6, 10), 77, np.uint8)).save(root / "masks" / "c2.png")
    with (root / "labels.csv").open("a") as file:
        file.write("ghost,1,0,0\nbad,1,maybe,0\n")
    edit(root / "splits" / "test.txt", "d1", "d1\na3")
    edit(root / "splits" / "val.txt", "c1", "c1\nC2")
    with (root / "groups.csv").open("a") as file:
        file.write("a1,z\n")
    problems = check_survey(root).problems
    expected = [
        ("images/a1.png", "cannot be read"),
        ("splits/train.txt", "the tile a2 has no picture"),
        ("masks/c1.png", "9 x 6"),
        ("masks/c2.png", "class id 77"),
        ("labels.csv line 9", "the tile ghost has no picture"),
        ("labels.csv line 10", 'found "maybe"'),
        ("labels.csv line 3", "the tile a2 has no picture"),
        ("splits/test.txt line 2", "the tile a3 is in train.txt already"),
        ("splits/val.txt", "the tile C2 has no picture in images; there is c2"),
        ("groups.csv line 9", "the tile a1 is in the strip a already"),
    ]
    for file, words in expected:
        assert [p for p in problems if file in p and words in p], (file, words, problems)
    assert all(str(root) in problem and "\n" not in problem for problem in problems)
    # "bad" has neither a right row nor a picture.
    assert len(problems) == len(expected) + 1


def test_a_class_in_val_that_no_train_tile_shows(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "a3,0,0,1", "a3,0,1,0")
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "val.txt" in problems[0]
    assert 'the tile c2 shows "weed"' in problems[0]
    assert any('No train tile shows "weed"' in note for note in check_survey(root).notes)
    # A mask tells it as well where val has no labels.
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text.replace("c2,0,0,1\n", "").replace("c1,1,1,0\n", ""))
    assert ['the tile c2 shows "weed"' in problem for problem in check_survey(root).problems] == [True]
    # The background needs no labels.
    assert check_survey(root, "weed").problems == []


@pytest.mark.parametrize("spoil", ["no file", "only val", "all zero"])
def test_train_without_any_label(root: Path, spoil: str) -> None:
    if spoil == "no file":
        (root / "labels.csv").unlink()
    elif spoil == "only val":
        (root / "labels.csv").write_text("tile,mud,rock,weed\nc1,1,0,0\n")
    else:
        rows = "".join(f"{tile},0,0,0\n" for tile in ("a1", "a2", "a3", "b1"))
        (root / "labels.csv").write_text("tile,mud,rock,weed\n" + rows)
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "labels.csv labels no train tile" in problems[0]
    assert "sonarseg import labels" in problems[0]


def test_a_train_tile_without_a_row(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "a2,0,1,0\n", "")
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "labels.csv has no row for the train tile a2" in problems[0]


def test_a_wrong_row_does_not_hide_a_missing_one(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "a2,0,1,0\n", "")
    edit(root / "labels.csv", "a1,1,0,0", "a1,1,0,maybe")
    edit(root / "labels.csv", "b1,1,1,0", "b1,1,1,0,1")
    problems = check_survey(root).problems
    # Each once: a row that is wrong is not missing as well.
    assert len(problems) == 3
    assert "line 2" in problems[0]
    assert "line 4" in problems[1]
    assert "no row for the train tile a2" in problems[2]


def test_an_empty_train_split_is_told_beside_wrong_labels(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "c1,1,1,0", "c1,1,1,2")
    (root / "splits" / "train.txt").write_text("")
    problems = check_survey(root).problems
    assert len(problems) == 2
    assert "train.txt lists no tile" in problems[1]


def test_lists_that_cannot_be_read_do_not_end_the_check(root: Path) -> None:
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00")
    (root / "images" / "a1.png").write_bytes(b"not a picture")
    problems = check_survey(root).problems
    assert any("classes.txt is not UTF-8" in problem for problem in problems)
    assert any("a1.png cannot be read" in problem for problem in problems)


def test_a_mask_that_is_a_folder_or_a_broken_link_is_not_passed_over(root: Path) -> None:
    path = root / "masks" / "c1.png"
    path.unlink()
    path.mkdir()
    assert any(f"{path} is a folder" in problem for problem in check_survey(root).problems)
    path.rmdir()
    path.symlink_to(root / "nowhere")
    assert any(f"{path} is missing" in problem for problem in check_survey(root).problems)


def test_a_wrong_header_is_one_problem(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "tile,mud", "tile;mud")
    edit(root / "labels.csv", ";mud,rock,weed", ";mud;rock;weed")
    assert len(check_survey(root).problems) == 1


def test_mixed_depths(root: Path) -> None:
    (root / "images" / "c1.png").unlink()
    tifffile.imwrite(root / "images" / "c1.tif", np.zeros((6, 10), np.uint16))
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "c1.tif has 16" in problems[0]


def test_tiles_of_different_sizes_are_no_problem(root: Path) -> None:
    for tile, size in (("a1", (5, 9)), ("a2", (7, 3)), ("c1", (1, 1))):
        Image.fromarray(np.zeros(size, np.uint8)).save(root / "images" / f"{tile}.png")
        Image.fromarray(np.zeros(size, np.uint8)).save(root / "masks" / f"{tile}.png")
    check = check_survey(root)
    assert check.problems == []
    assert table(check)["size (width x height)"][:2] == ("3 x 5 to 10 x 7 (3 sizes)", "1 x 1, 10 x 6")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        check_survey(tmp_path / "nothing")


def test_an_empty_folder_is_told_in_a_few_sentences(tmp_path: Path) -> None:
    check = check_survey(tmp_path)
    assert any("images" in problem for problem in check.problems)
    assert any("classes.txt" in problem for problem in check.problems)
    assert len(check.problems) <= 4
    assert table(check)["tiles"] == ("0", "0", "0")


def test_what_is_worth_knowing(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "a1,1,0,0", "a1,0,0,0")
    edit(root / "groups.csv", "c1,c", "c1,a")
    edit(root / "labels.csv", "c2,0,0,1", "c2,1,0,0")
    (root / "masks" / "c1.png").unlink()
    Image.open(root / "masks" / "a1.png").save(root / "masks" / "stray.png")
    edit(root / "splits" / "train.txt", "a2\n", "")
    (root / "splits" / "test.txt").unlink()
    check = check_survey(root)
    assert check.problems == []
    for words in (
        "2 pictures are in no split",
        "The test split is empty",
        "1 of 2 val tiles have no mask, c1 for one",
        "1 train tiles show no class",
        "1 strips, a for one, have tiles in several splits",
        "masks of 1 tiles show a class that their labels deny, c2",
        "1 masks have no tile, stray",
        'not scored: "mud", "rock": the labels of val show it',
    ):
        assert [note for note in check.notes if words in note], (words, check.notes)
    assert len(check.notes) == 8


def test_made_splits_and_the_background_are_told(root: Path) -> None:
    for path in (root / "splits").iterdir():
        path.unlink()
    rows = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(row.rsplit(",", 1)[0] for row in rows))
    check = check_survey(root)
    assert check.problems == []
    assert check.background == "weed"
    assert any("splits were made by group" in note for note in check.notes)
    assert any('no column for "weed": it is the background' in note for note in check.notes)
    assert "tiles labelled weed" not in table(check)


def test_a_class_in_nearly_every_train_tile_is_proposed(root: Path) -> None:
    (root / "labels.csv").write_text(
        "tile,mud,rock,weed\na1,1,1,0\na2,0,1,0\na3,0,1,1\nb1,1,1,0\nc1,1,1,0\nc2,0,0,1\n"
    )
    check = check_survey(root)
    assert check.proposed_background == "rock"
    assert any('background = "rock"' in note for note in check.notes)
    assert check_survey(root, "rock").proposed_background is None


def spoil(path: Path, how: str) -> None:
    """Replace a picture by something that cannot be read."""
    content = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"no picture"}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "text", "folder"])
@pytest.mark.parametrize("tile", ["a1", "c1", "d1"])
def test_a_picture_that_cannot_be_read_although_its_mask_can(root: Path, tile: str, how: str) -> None:
    spoil(root / "images" / f"{tile}.png", how)
    check = check_survey(root)
    assert len(check.problems) == 1
    assert str(root / "images" / f"{tile}.png") in check.problems[0]
    assert not any("have no mask" in note for note in check.notes)
    assert [tally.masks for tally in check.splits.values()] == [4, 2, 1]


def test_a_mask_that_is_compressed_with_loss(root: Path) -> None:
    mask = root / "masks" / "c1.png"
    Image.open(mask).save(root / "masks" / "c1.jpg")
    mask.unlink()
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "c1.jpg is compressed as JPEG" in problems[0]


def test_jpeg_tiles_and_float_tiles_have_a_kind(root: Path) -> None:
    for path in list((root / "images").iterdir()):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    check = check_survey(root)
    assert check.problems == []
    assert table(check)["pictures"] == ("8-bit grey",) * 3
    for path in list((root / "images").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(Image.open(path), np.float32) / 255)
        path.unlink()
    check = check_survey(root)
    assert check.problems == []
    assert table(check)["pictures"] == ("float",) * 3


@pytest.mark.parametrize(("kind", "words"), [(np.uint8, "has 8 bits"), (np.uint16, "has 16 bits")])
def test_float_tiles_are_not_mixed_with_others(root: Path, kind: type, words: str) -> None:
    for path in list((root / "images").iterdir()):
        float_tile = path.stem == "c1"
        tifffile.imwrite(path.with_suffix(".tif"), np.ones((6, 10), np.float32 if float_tile else kind))
        path.unlink()
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert words in problems[0]
    assert "c1.tif has 32 bits (floating point)" in problems[0]


def _spoil_masks(root: Path, split: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for tile in (root / "splits" / f"{split}.txt").read_text().split():
        path = root / "masks" / f"{tile}.png"
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


@pytest.mark.parametrize(
    ("split", "change", "says"),
    [
        (
            "val",
            lambda mask: np.full_like(mask, 255),
            "val has no pixel with data, its masks are 255",
        ),
        ("val", lambda mask: np.where(mask == 2, 255, mask), 'not scored: "weed": the labels of val show it'),
        ("val", lambda mask: np.where(mask == 2, 1, mask), 'not scored: "weed": the labels of val show it'),
        ("val", lambda mask: np.where(mask > 0, 255, mask), 'not scored: "rock", "weed": the labels of val'),
        (
            "val",
            lambda mask: np.where(mask > 0, 255, mask),
            "hold the values 0 and 255 only, and 255",
        ),
        ("test", lambda mask: np.full_like(mask, 255), "test has no pixel with data"),
        ("test", lambda mask: np.where(mask == 2, 0, mask), 'not scored: "weed": the labels of test show it'),
    ],
)
def test_masks_that_say_less_than_the_labels_are_noted(
    root: Path, split: str, change: Callable[[np.ndarray], np.ndarray], says: str
) -> None:
    assert not any(text in note for note in _mask_notes(root) for text in ("not scored", "255"))
    _spoil_masks(root, split, change)
    assert any(says in note for note in _mask_notes(root))


def test_masks_of_two_values_are_noted_if_labels_do_not_tell(root: Path) -> None:
    _spoil_masks(root, "val", lambda mask: np.where(mask > 0, 255, 0).astype(np.uint8))
    rows = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(row for row in rows if not row.startswith("c")))
    assert any("hold the values 0 and 255 only" in note for note in _mask_notes(root))


def _mask_notes(root: Path) -> list[str]:
    return check_survey(root, masks=("val", "test")).notes


def test_blank_rows_are_a_note_and_no_problem(root: Path, edit: Edit) -> None:
    edit(root / "labels.csv", "a1,1,0,0", "a1,,,")
    check = check_survey(root)
    assert check.problems == []
    assert any("1 tiles are not labelled yet" in note for note in check.notes)
    assert not any("in no split" in note for note in check.notes)


def test_a_survey_of_blank_rows_says_what_to_do(root: Path) -> None:
    lines = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join([lines[0], *(f"{x.split(',')[0]},,," for x in lines[1:])]))
    (problem,) = (text for text in check_survey(root).problems if "train" in text)
    assert "no train tile is labelled yet: label some with `sonarseg label" in problem
