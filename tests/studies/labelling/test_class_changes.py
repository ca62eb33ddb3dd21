"""Classes that are added, renamed and merged, with labels and masks that follow."""

from pathlib import Path

import numpy as np
import pytest

from sonarseg.errors import UserError
from sonarseg.files import together
from sonarseg.survey.layout import open_survey
from sonarseg.survey.pictures import read_mask_file, write_index_png
from studies.labelling.class_changes import add_class, merge_classes, rename_class
from studies.labelling.label_table import LabelChange, LabelTable
from studies.labelling.session import opened_session


@pytest.fixture
def table(root: Path) -> LabelTable:
    """Mud, rock and sand; train0 shows mud and sand."""
    table = LabelTable(root)
    add_class(table, "sand")
    table.apply([LabelChange("train0", "100", "101"), LabelChange("train2", "100", "")])
    mask = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    write_index_png(root / "masks" / "val0.png", mask)
    return table


def test_a_new_class_is_shown_by_no_tile(table: LabelTable) -> None:
    add_class(table, "weed")
    assert table.shown()["train0"] == "1010"
    assert table.shown()["train2"] == ""


def test_a_renamed_class_keeps_its_labels(table: LabelTable, root: Path) -> None:
    rename_class(table, 1, "=boulders")
    assert open_survey(root).classes == ("mud", "=boulders", "sand")
    assert open_survey(root).labels["train1"].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("index", "into", "classes", "shown", "ids"),
    [
        (0, 2, ("rock", "sand"), "01", [1, 0, 1, 255]),
        (2, 0, ("mud", "rock"), "10", [0, 1, 0, 255]),
        (1, 0, ("mud", "sand"), "11", [0, 0, 1, 255]),
    ],
)
def test_merged_classes(
    table: LabelTable, root: Path, index: int, into: int, classes: tuple[str, ...], shown: str, ids: list[int]
) -> None:
    merge_classes(table, index, into)
    assert table.classes == classes == open_survey(root).classes
    assert table.shown()["train0"] == shown
    assert table.shown()["train2"] == ""
    assert read_mask_file(root / "masks" / "val0.png")[0].tolist() == ids


def test_what_is_merged_into_the_background_is_named_by_no_label(root: Path) -> None:
    (root / "classes.txt").write_text("mud\nrock\nsand\n")
    (root / "labels.csv").write_text("tile,rock,sand\ntrain0,1,1\ntrain1,0,1\n")
    table = LabelTable(root)
    merge_classes(table, 1, 0)
    assert table.unlabelled == "mud"
    assert (table.shown()["train0"], table.shown()["train1"]) == ("01", "01")


@pytest.mark.parametrize("name", ["", "  ", "tile", "mud", "a\nb", "a\u202eb"])
def test_names_that_cannot_be_one(table: LabelTable, root: Path, name: str) -> None:
    before = (root / "classes.txt").read_bytes()
    with pytest.raises(UserError):
        add_class(table, name)
    assert (root / "classes.txt").read_bytes() == before


def test_a_mask_with_an_unknown_id_stops_the_merge(table: LabelTable, root: Path) -> None:
    write_index_png(root / "masks" / "val1.png", np.full((3, 4), 7, np.uint8))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="holds the class id 7"):
        merge_classes(table, 0, 1)
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moves", range(4))
def test_a_merge_that_is_killed_happens_whole_or_not_at_all(
    table: LabelTable, root: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    original = Path.replace
    left = moves

    def killed(path: Path, target: Path) -> Path:
        nonlocal left
        if together._FOLDER in str(path) and path.suffix != ".partial":
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        return original(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        merge_classes(table, 0, 2)
    monkeypatch.undo()
    with opened_session(root) as session:
        assert session.table.classes == ("rock", "sand")
        assert session.table.shown()["train0"] == "01"
    assert read_mask_file(root / "masks" / "val0.png")[0].tolist() == [1, 0, 1, 255]
    assert not (root / together._FOLDER).exists()


def test_a_merge_that_is_killed_before_it_was_complete_is_forgotten(root: Path) -> None:
    waiting = root / together._FOLDER / "new" / "classes.txt"
    waiting.parent.mkdir(parents=True)
    waiting.write_text("half a n")
    with opened_session(root) as session:
        assert session.table.classes == ("mud", "rock")
    assert not (root / together._FOLDER).exists()
