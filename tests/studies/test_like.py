"""A workspace like another one."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from studies.main import app
from studies.pipeline import tune_crf
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace
from tests.support.workspaces import rewrite


def init(*words: object) -> str:
    result = CliRunner().invoke(app, ["init", *map(str, words)])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_settings_and_warm_up_are_taken_over(tuned: Workspace, run_settings: RunSettings) -> None:
    told = init("--like", tuned.root)
    assert "Its warm-up is taken over." in told
    new = Workspace(tuned.root.with_name("study-2"))
    assert new.survey_path == tuned.survey_path
    assert new.config == tuned.config.model_copy(update={"name": "study-2"})
    study = tune_crf(new, run_settings)
    assert len((new.warm_up_dir / "starts.txt").read_text().split()) == 1
    assert len(study.trials) >= 7


def test_the_warm_up_of_another_network_is_not_taken(tuned: Workspace) -> None:
    rewrite(tuned, "[training]", "[network]\nencoder = 'resnet34'\n[training]")
    told = init("--like", tuned.root, "-w", tuned.root.with_name("deep") / "er")
    assert "Its warm-up is not taken over: " in told
    assert "was trained with other settings" in told
    new = Workspace(tuned.root.with_name("deep") / "er")
    assert new.survey_path == tuned.survey_path
    assert not new.runs_dir.exists()


def test_the_warm_up_of_another_survey_is_not_taken(tuned: Workspace) -> None:
    Image.new("L", (24, 20), 3).save(tuned.survey_path / "images" / "train1.png")
    assert "was trained on another state of the survey" in init("--like", tuned.root)


def test_without_a_survey_and_a_workspace_it_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["init"])
    assert result.exit_code == 2
    assert "name the folder of your survey" in " ".join(result.output.split())
