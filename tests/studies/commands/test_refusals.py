"""What commands say where nothing has run yet, in this process for speed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from studies.main import app


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is a workspace without survey, database or runs."""
    (tmp_path / "study.toml").write_text('name = "bay"\nsurvey = "survey"\ndevice = "cpu"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize("command", [["report"], ["dashboard"], ["predict"]])
def test_studies_are_needed(workspace: Path, command: list[str]) -> None:
    assert "sonarseg tune all" in refused(*command)


@pytest.mark.parametrize("command", [["tune", "all"], ["tune", "crf"], ["evaluate", "cam"], ["run", "lone"]])
def test_the_survey_is_missing(workspace: Path, command: list[str]) -> None:
    said = refused(*command)
    assert f"there is no folder {workspace / 'survey'}" in said
    assert "study.toml, line" in said
    assert not (workspace / "study.db").exists()
    assert not (workspace / "lone").exists()


def test_status_of_a_study_that_has_not_begun(workspace: Path) -> None:
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 0, result.output
    assert result.output.count("not begun") == 2


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "cam", "--split", "train"],
        ["run", "lone", "--alpha", "2"],
        ["run", "lone", "--supervision", "guess"],
        ["dashboard", "--port", "0"],
        ["tune", "everything"],
    ],
)
def test_options_out_of_range(workspace: Path, command: list[str]) -> None:
    assert CliRunner().invoke(app, command).exit_code == 2


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.startswith("sonarseg 0.")


SURVEYS = ["init", "check", "simulate", "import girona", "import masks", "import labels", "export tiles"]
STUDIES = ["tune crf", "tune loss", "tune all", "status", "report", "dashboard", "quickstart"]
RUNS = ["run", "evaluate", "predict", "pack"]


@pytest.mark.parametrize("command", SURVEYS + STUDIES + RUNS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
