"""classes.txt, splits, labels.csv and groups.csv as people write them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sonarseg.errors import UserError
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.layout import open_survey
from sonarseg.survey.tile_names import tile_name

Edit = Callable[[Path, str, str], None]
FILES = ("classes.txt", "labels.csv", "groups.csv", "splits/train.txt", "splits/val.txt", "splits/test.txt")


def same(one: Path, other: Path) -> None:
    first, second = open_survey(one), open_survey(other)
    assert first.classes == second.classes
    assert first.splits == second.splits
    assert first.groups == second.groups
    assert first.labels.keys() == second.labels.keys()
    for tile, labels in first.labels.items():
        np.testing.assert_array_equal(labels, second.labels[tile])


def rewrite(root: Path, change: Callable[[str], bytes]) -> None:
    for name in FILES:
        (root / name).write_bytes(change((root / name).read_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xef\xbb\xbf\r\n" + text.replace("\n", " \r\n\r\n").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: text.replace(",", " ,\t").encode(),
        lambda text: text.replace("a1", "a1.PNG").replace("c2", "c2.tiff").encode(),
    ],
    ids=["bom", "crlf", "cr", "all at once", "no last newline", "spaces", "file names"],
)
def test_the_same_survey_however_its_lists_were_saved(
    root: Path, tmp_path: Path, change: Callable[[str], bytes]
) -> None:
    other = tmp_path / "other"
    for name in ("splits", "images"):
        (other / name).mkdir(parents=True)
    for path in [*(root / name for name in FILES), *(root / "images").iterdir()]:
        (other / path.relative_to(root)).write_bytes(path.read_bytes())
    rewrite(other, change)
    same(root, other)


def test_trailing_empty_cells_of_a_spreadsheet_are_passed_over(root: Path) -> None:
    before = open_survey(root).labels
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text.replace("\n", ",,\n") + ",,,,,\n")
    after = open_survey(root).labels
    assert {tile: row.tolist() for tile, row in after.items()} == {
        t: row.tolist() for t, row in before.items()
    }


def test_quoted_class_names_may_hold_commas(root: Path, edit: Edit) -> None:
    edit(root / "classes.txt", "rock", "rock, coarse")
    edit(root / "labels.csv", "rock", '"rock, coarse"')
    assert open_survey(root).classes == ("mud", "rock, coarse", "weed")


def test_the_columns_may_stand_in_any_order(root: Path) -> None:
    (root / "labels.csv").write_text("weed,tile,mud,rock\n1,a1,0,0\n")
    assert open_survey(root).labels["a1"].tolist() == [False, False, True]


@pytest.mark.parametrize("value", ["2", "yes", "", "1.0", "-1", "True"])
def test_a_wrong_label_names_file_line_and_value(root: Path, edit: Edit, value: str) -> None:
    # Blank lines count, as in an editor.
    edit(root / "labels.csv", "a2,0,1,0", f"\n\na2,0,{value},0")
    with pytest.raises(UserError) as error:
        open_survey(root)
    message = str(error.value)
    assert f"{root / 'labels.csv'} line 5" in message
    assert f'"{value}"' in message
    assert '"rock"' in message


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("labels.csv", "tile,mud,rock,weed", "tile,mud,rock,wead", 'line 1: the column "wead"'),
        ("labels.csv", "tile,mud,rock,weed", "name,mud,rock,weed", 'line 1: the column "name"'),
        ("labels.csv", "tile,mud,rock,weed", "tile,mud,rock,weed,mud", 'two columns "mud"'),
        ("labels.csv", "tile,mud,rock,weed", "tile;mud;rock;weed", "by commas"),
        ("labels.csv", "a1,1,0,0", "a1,1,0,0,7", "line 2 has 5 cells"),
        ("labels.csv", "a1,1,0,0", "a1,1,0", 'line 2, column "weed": expected 0 or 1, found ""'),
        ("labels.csv", "a1,1,0,0", ",1,0,0", "line 2 names no tile"),
        ("labels.csv", "a2,0,1,0", "a1,0,1,0", "line 3: the tile a1 has a row in line 2"),
        ("classes.txt", "weed", "mud", 'line 3 names the class "mud" again'),
        ("classes.txt", "weed", "tile", 'cannot be called "tile"'),
        ("splits/val.txt", "c1", "a1", "val.txt line 1: the tile a1 is in train.txt already"),
        ("splits/train.txt", "a2", "a1", "train.txt line 2: the tile a1 is in this split already"),
        ("groups.csv", "tile,strip", "tile,line", 'is "tile,line": expected tile,strip'),
        ("groups.csv", "a2,a", "a2", "line 3: expected a tile and its strip"),
        ("groups.csv", "a2,a", "a1,b", "line 3: the tile a1 is in the strip a already"),
    ],
)
def test_wrong_lists_end_in_one_sentence(
    root: Path, edit: Edit, file: str, old: str, new: str, words: str
) -> None:
    edit(root / file, old, new)
    with pytest.raises(UserError) as error:
        open_survey(root)
    assert words in str(error.value)
    assert str(root / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_no_text(root: Path, file: str) -> None:
    (root / file).write_bytes("tile,Geröll\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8") as error:
        open_survey(root)
    assert str(root / file) in str(error.value)


@pytest.mark.parametrize("file", FILES)
def test_a_folder_or_a_broken_link_in_place_of_a_list_is_no_missing_list(root: Path, file: str) -> None:
    (root / file).unlink()
    (root / file).mkdir()
    with pytest.raises(UserError, match=f"{file} cannot be read .Is a directory.: expected a text file"):
        open_survey(root)
    (root / file).rmdir()
    (root / file).symlink_to(root / "nowhere")
    with pytest.raises(UserError, match=f"{file} is a link to a file that is missing"):
        open_survey(root)


@pytest.mark.parametrize("folder", ["images", "splits", "masks"])
def test_a_file_in_place_of_a_folder_is_said(root: Path, folder: str) -> None:
    shutil.rmtree(root / folder)
    (root / folder).write_text("")
    assert any(f"{root / folder} is no folder: put the " in told for told in check_survey(root).problems)


def test_text_that_cannot_be_read_is_one_problem(root: Path) -> None:
    text = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(text, encoding="utf-16")
    problems = check_survey(root).problems
    assert len(problems) == 1
    assert "labels.csv is not UTF-8 text but UTF-16" in problems[0]


def test_classes_in_two_columns_are_refused(root: Path) -> None:
    (root / "classes.txt").write_text("0\tmud\n1\trock\n2\tweed\n")
    with pytest.raises(UserError, match=r"classes\.txt line 1 holds the control character \\t"):
        open_survey(root)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_no_classes(root: Path, content: str) -> None:
    (root / "classes.txt").write_text(content)
    with pytest.raises(UserError, match=r"classes\.txt is missing or empty"):
        open_survey(root)


def test_too_many_classes_for_a_mask(root: Path) -> None:
    (root / "classes.txt").write_text("\n".join(f"class {number}" for number in range(256)))
    (root / "labels.csv").unlink()
    with pytest.raises(UserError, match="256 classes"):
        open_survey(root)


def test_an_empty_labels_file_is_said(root: Path) -> None:
    (root / "labels.csv").write_text("\n")
    with pytest.raises(UserError, match=r"labels\.csv is empty"):
        open_survey(root)


def test_accents_are_one_name_however_they_are_encoded(root: Path, edit: Edit) -> None:
    edit(root / "classes.txt", "weed", "posido\u0301nia")
    edit(root / "labels.csv", "weed", "posid\u00f3nia")
    assert open_survey(root).classes[2] == "posid\u00f3nia"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("t1", "t1"),
        (" t1.png ", "t1"),
        ("t1.TIFF", "t1"),
        ("line.3.tif", "line.3"),
        ("line.3", "line.3"),
        ("", ""),
    ],
)
def test_tile_names(text: str, name: str) -> None:
    assert tile_name(text) == name
