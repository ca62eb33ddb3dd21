"""Which workspace a command is about, and how folders are named and refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sonarseg.errors import UserError
from studies.commands import tune
from studies.commands.evaluate import file_name
from studies.commands.options.nearby import refuse_no_survey
from studies.commands.options.workspace import find_workspace
from studies.commands.terminal.phases import SpokenCommand
from studies.commands.tune import TuneOptions
from studies.main import app
from studies.workspace import Workspace


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text('name = "n"\nsurvey = "s"\n')
    return folder


def test_the_named_workspace_is_taken(tmp_path: Path) -> None:
    make(tmp_path)
    assert find_workspace(make(tmp_path / "b"), tmp_path).root == tmp_path / "b"


def test_a_named_folder_without_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"holds no study\.toml: make it a workspace with"):
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


def test_workspaces_inside_the_named_folder_are_listed(tmp_path: Path) -> None:
    for name in ("a-study", "b-study"):
        make(tmp_path / "bays" / name)
    with pytest.raises(UserError, match=r"name a workspace in it, bays/a-study or bays/b-study\.$"):
        find_workspace(tmp_path / "bays", tmp_path)


def test_workspaces_two_levels_down_are_listed(tmp_path: Path) -> None:
    make(tmp_path / "bays" / "a-study")
    with pytest.raises(UserError, match=r"further down: name bays/a-study\.$"):
        find_workspace(None, tmp_path)
    with pytest.raises(UserError, match=r"further down: name -w bays/a-study\.$"):
        find_workspace(None, tmp_path, option="-w ")
    for number in range(5):
        make(tmp_path / "bays" / f"b{number}-study")
    with pytest.raises(UserError, match=r"b1-study or bays/b2-study or another\.$"):
        find_workspace(None, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["tune", "all", "X"],
        ["tune", "crf", "X"],
        ["predict", "X", "-o", "o"],
        ["confirm", "X"],
        ["dashboard", "X"],
        ["evaluate", "cam", "-w", "X"],
        ["run", "r", "-w", "X"],
        ["report", "X"],
    ],
)
def test_a_wrong_folder_is_refused_before_the_command_loads_anything(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(SpokenCommand, "invoke", lambda *_: begun.append(command))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, begun) == (2, [])
    assert "There is no folder X: make it a workspace with" in result.stderr
    make(tmp_path / "X")
    assert (CliRunner().invoke(app, command).exit_code, begun) == (0, [command])


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


def make_survey(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "classes.txt").write_text("sand\n")
    return folder


def refused(named: Path, here: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_workspace(named, here)
    return str(caught.value)


@pytest.mark.parametrize("typed", ["reservoir", "reservoir_study", "Reservoir-Study", "resevoir-study"])
def test_a_misspelt_workspace_is_answered_with_the_right_one(tmp_path: Path, typed: str) -> None:
    make(tmp_path / "reservoir-study")
    make(tmp_path / "bay-study")
    said = refused(tmp_path / typed, tmp_path)
    assert said == f"There is no folder {tmp_path / typed}: did you mean reservoir-study?"


def test_a_folder_above_the_workspace_is_answered_with_it(tmp_path: Path) -> None:
    make(tmp_path / "work" / "bay")
    assert "did you mean work/bay?" in refused(tmp_path / "work", tmp_path)


def test_a_part_of_a_workspace_is_answered_with_the_whole(tmp_path: Path) -> None:
    (make(tmp_path / "bay-study") / "runs").mkdir()
    assert "name the workspace, bay-study." in refused(tmp_path / "bay-study" / "runs", tmp_path)
    assert "name the workspace, bay-study." in refused(tmp_path / "bay-study" / "study.toml", tmp_path)


def test_a_survey_is_answered_with_its_workspace(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "data" / "bay")
    said = refused(survey, tmp_path)
    assert said == f"{survey} is a survey, not a workspace: make its workspace with `sonarseg init data/bay`."
    make(tmp_path / "other-study")
    make(tmp_path / "first")
    (tmp_path / "first" / "study.toml").write_text('name = "n"\nsurvey = "../data/bay"\n')
    assert refused(survey, tmp_path) == f"{survey} is a survey, not a workspace: its workspace is first."


def test_in_a_survey_the_command_names_its_workspace(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "bay")
    make(tmp_path / "bay-study")
    (tmp_path / "bay-study" / "study.toml").write_text('name = "n"\nsurvey = "../bay"\n')
    with pytest.raises(UserError, match=r"its workspace is \.\./bay-study\."):
        find_workspace(None, survey)


def test_a_workspace_is_no_survey(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "bay")
    workspace = make(tmp_path / "bay-study")
    with pytest.raises(UserError, match="is a workspace, not a survey: name the folder of its tiles"):
        refuse_no_survey(workspace, tmp_path)
    (workspace / "study.toml").write_text('name = "n"\nsurvey = "../bay"\n')
    with pytest.raises(UserError, match=r"is a workspace, not a survey: its survey is bay\."):
        refuse_no_survey(workspace, tmp_path)
    refuse_no_survey(survey, tmp_path)
    with pytest.raises(UserError, match=r"is not there: did you mean bay\?"):
        refuse_no_survey(tmp_path / "baye", tmp_path)


def test_tune_without_the_name_of_a_study_runs_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "bay-study")
    monkeypatch.chdir(tmp_path)
    given: list[tuple[Workspace, TuneOptions]] = []
    monkeypatch.setattr(tune, "tune_studies", lambda *arguments: given.append(arguments))
    for words in (["bay-study"], ["bay-study", "--hours", "2"], ["--hours", "2", "bay-study"]):
        result = CliRunner().invoke(app, ["tune", *words])
        assert result.exit_code == 0, result.output
        assert (given[-1][0].root, given[-1][1].study) == (Path("bay-study"), "all")
    assert given[-1][1].hours == 2.0
    result = CliRunner().invoke(app, ["tune", "everything"])
    assert (result.exit_code, len(given)) == (2, 3)


def test_tune_of_a_wrong_folder_names_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "bay-study")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["tune", "bay-stdy"])
    assert result.exit_code == 2
    assert result.stderr == "There is no folder bay-stdy: did you mean bay-study?\n"
