import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonarseg.errors import UserError
from studies.workspace import Workspace


def test_a_copied_workspace_finds_its_survey(tmp_path: Path) -> None:
    for place in ("here", "there"):
        root = tmp_path / place / "study"
        root.mkdir(parents=True)
        (root / "study.toml").write_text('name = "a"\nsurvey = "../survey"\n')
        workspace = Workspace(root)
        assert workspace.survey_path == (tmp_path / place / "survey").resolve()
        assert workspace.survey_seen_from(workspace.warm_up_dir) == "../../../survey"


def test_an_absolute_survey_stays_absolute(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(f'name = "a"\nsurvey = "{tmp_path / "s"}"\n')
    workspace = Workspace(tmp_path)
    assert workspace.survey_seen_from(workspace.runs_dir) == str(tmp_path / "s")


def test_a_workspace_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written to"), Workspace(tmp_path / "missing").lock():
        pytest.fail("entered")


def test_two_commands_take_turns(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from studies.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock():\n"
        "    Path(sys.argv[1], 'in').touch(); time.sleep(0.5); Path(sys.argv[1], 'out').touch()"
    )
    notes: list[str] = []
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as other:
        while not (tmp_path / "in").exists() and other.poll() is None:
            time.sleep(0.02)
        with Workspace(tmp_path).lock(lambda what, *_: notes.append(what)):
            assert (tmp_path / "out").exists()
    assert notes == ["waiting for another sonarseg command in this workspace"]


def test_a_survey_that_is_not_there_is_named_with_its_line(workspace: Workspace) -> None:
    shutil.move(workspace.survey_path, workspace.survey_path.with_name("moved"))
    expected = rf"study\.toml, line 2: there is no folder {workspace.survey_path}: name the folder"
    with pytest.raises(UserError, match=expected):
        workspace.survey()
