"""Which workspace a command is about, and how folders are named and refused."""

from pathlib import Path

import pytest

from sonarseg.errors import UserError
from studies.commands.evaluate import file_name
from studies.commands.workspace_choice import find_workspace


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text('name = "n"\nsurvey = "s"\n')
    return folder


def test_the_named_workspace_is_taken(tmp_path: Path) -> None:
    make(tmp_path)
    assert find_workspace(make(tmp_path / "b"), tmp_path).root == tmp_path / "b"


def test_a_named_folder_without_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no study\.toml"):
        find_workspace(tmp_path / "none", tmp_path)


def test_the_current_folder_comes_first(tmp_path: Path) -> None:
    make(tmp_path / "below")
    assert find_workspace(None, make(tmp_path)).root == tmp_path


def test_the_only_subfolder_is_found(tmp_path: Path) -> None:
    make(tmp_path / "bay-study")
    (tmp_path / "bay").mkdir()
    assert find_workspace(None, tmp_path).root == tmp_path / "bay-study"


def test_several_are_listed(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    with pytest.raises(UserError, match=r"Several workspaces .*/a, .*/b\.$"):
        find_workspace(None, tmp_path)


def test_none_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sonarseg init SURVEY"):
        find_workspace(None, tmp_path)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("loss:7", "loss-7"),
        ("study/runs/Masks seed 1/", "masks-seed-1"),
        ("w-s3Tseg", "w-s3tseg"),
        ("..", "run"),
        ("no CRF", "no-crf"),
    ],
)
def test_evaluations_are_named_after_their_target(target: str, name: str) -> None:
    assert file_name(target) == name
