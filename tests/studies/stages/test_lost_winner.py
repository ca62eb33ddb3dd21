"""The winner's run is lost, or its folder was taken by another run."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studies.main import app
from studies.pipeline import WorkerOptions, tune_loss
from studies.stages.loss import best_run_dir
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace
from tests.support.simulated_backend import SimulatedBackend


@pytest.fixture
def winner(tuned: Workspace, run_settings: RunSettings) -> Path:
    tune_loss(tuned, run_settings)
    return best_run_dir(tuned)


def contents(run_dir: Path) -> dict[str, object]:
    summary = json.loads((run_dir / "summary.json").read_text())
    return {"config": (run_dir / "config.json").read_text(), "metrics": summary["metrics"]}


def test_a_lost_winner_is_trained_again_from_its_trial(
    tuned: Workspace, run_settings: RunSettings, winner: Path
) -> None:
    before = contents(winner)
    shutil.rmtree(tuned.runs_dir)
    study = tune_loss(tuned, run_settings)
    assert best_run_dir(tuned) == winner
    assert contents(winner) == before
    assert sorted(path.name for path in tuned.runs_dir.iterdir()) == [winner.name, "warm-up"]
    assert len(study.trials) == 6


def test_on_a_cluster_a_worker_trains_it_again(
    tuned: Workspace, run_settings: RunSettings, winner: Path
) -> None:
    """The launcher may be a login node: it computes nothing."""
    before = contents(winner)
    backend = SimulatedBackend(here=False)
    worker_options = WorkerOptions(backend=backend)
    tune_loss(tuned, run_settings, worker_options)
    shutil.rmtree(winner)
    tune_loss(tuned, run_settings, worker_options)
    assert [task.lost_winner for task, _ in backend.sent] == [False, False, True]
    assert contents(winner) == before


def test_another_run_in_its_folder_is_moved_aside(
    tuned: Workspace, run_settings: RunSettings, winner: Path
) -> None:
    before = contents(winner)
    config = json.loads((winner / "config.json").read_text())
    (winner / "config.json").write_text(json.dumps(config | {"loss": {"name": "cross-entropy"}}))
    tune_loss(tuned, run_settings)
    assert contents(winner) == before
    aside = tuned.runs_dir / f"other-1-{winner.name}"
    assert json.loads((aside / "config.json").read_text())["loss"]["name"] == "cross-entropy"


def test_a_winner_that_is_there_stays(tuned: Workspace, run_settings: RunSettings, winner: Path) -> None:
    tune_loss(tuned, run_settings)
    assert len((winner / "starts.txt").read_text().split()) == 1


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("loss-0002", "tune loss"),
        ("loss-batch-8-0002", "tune loss"),
        ("warm-up", "tune crf"),
        ("final", "tune all"),
        ("confirm-focal-4", "confirm"),
    ],
)
def test_a_lone_run_does_not_take_a_name_of_the_study(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, folder: str, command: str
) -> None:
    monkeypatch.chdir(workspace.root.parent)
    result = CliRunner().invoke(app, ["run", f"study/runs/{folder}", "-w", "study"])
    assert result.exit_code == 2
    assert f"`sonarseg {command} study` trains it" in result.stderr
    assert not (workspace.runs_dir / folder).exists()
