"""labels.csv while it is being made."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from studies.labelling.label_table import LabelChange, LabelConflictError, LabelTable
from studies.labelling.session import opened_session


def test_tiles_without_labels_are_blank(root: Path) -> None:
    (root / "labels.csv").unlink()
    table = LabelTable(root)
    assert set(table.shown().values()) == {""}
    table.apply([LabelChange("train1", "", "01")])
    lines = (root / "labels.csv").read_text().splitlines()
    assert lines[0] == "tile,mud,rock"
    assert "train1,0,1" in lines
    assert "train0,," in lines
    assert open_survey(root).splits["train"] == ("train1",)


def test_rows_of_tiles_without_a_picture_stay(root: Path) -> None:
    (root / "images" / "train0.png").unlink()
    table = LabelTable(root)
    assert "train0" not in table.shown()
    table.apply([LabelChange("train1", "11", "01")])
    assert "train0,1,0" in (root / "labels.csv").read_text().splitlines()


def test_a_class_without_a_column_stays_the_background(root: Path) -> None:
    (root / "labels.csv").write_text("tile,rock\ntrain0,0\n")
    table = LabelTable(root)
    assert table.unlabelled == "mud"
    table.apply([LabelChange("train0", "00", "01")])
    assert (root / "labels.csv").read_text().splitlines()[:2] == ["tile,rock", "train0,1"]
    with pytest.raises(UserError, match="is the background"):
        table.apply([LabelChange("train0", "01", "11")])


def test_what_another_program_writes_is_taken_in_and_not_overwritten(root: Path) -> None:
    table = LabelTable(root)
    text = (root / "labels.csv").read_text().replace("train0,1,0", "train0,0,1")
    (root / "labels.csv").write_text(text + "\n")
    with pytest.raises(LabelConflictError) as refused:
        table.apply([LabelChange("train0", "10", "11")])
    assert refused.value.current == {"train0": "01"}
    assert table.changes(0) == (1, {"train0": "01"})


def test_after_a_failed_write_memory_and_disk_agree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = LabelTable(root)
    before = (root / "labels.csv").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table.apply([LabelChange("train0", "10", "01")])
    assert (root / "labels.csv").read_bytes() == before
    assert table.shown()["train0"] == "10"
    assert [path.name for path in root.iterdir() if "partial" in path.name] == []


_WRITER = """
import sys
from pathlib import Path
from studies.labelling.label_table import LabelChange, LabelTable
table = LabelTable(Path(sys.argv[1]))
shown = table.shown()["train0"]
while True:
    after = "01" if shown == "10" else "10"
    table.apply([LabelChange("train0", shown, after), LabelChange("train2", shown, after)])
    shown = after
    print(shown, flush=True)
"""


def test_a_kill_in_the_middle_loses_nothing(root: Path) -> None:
    for count in (1, 7, 20):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, root], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(count):
            said = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        said = ([said, *process.communicate()[0].split()])[-1]
        with opened_session(root) as session:
            shown = session.table.shown()
        assert shown["train0"] == shown["train2"], "a change of two tiles is whole"
        # What was written last may not have been said any more.
        assert shown["train0"] in (said, "01" if said == "10" else "10")
        assert len(open_survey(root).labels) == 11
