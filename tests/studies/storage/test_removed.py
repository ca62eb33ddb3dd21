"""Studies and trials that somebody removed, as the dashboard does: the rest goes on and says so."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from objectives.records.study import StudyKind
from reports.dashboard.notes import write_dashboard_notes
from reports.page.build import render
from sonarseg.errors import UserError
from studies.commands.options.targets import crf_target
from studies.commands.status import gather, log_tail
from studies.main import app
from studies.pipeline import WorkerOptions, tune_crf, tune_loss
from studies.stages.crf import best_crf_trial
from studies.stages.loss import best_run_dir, has_finished_run
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import RunSettings
from studies.stages.warm_start import take_over
from studies.storage.open import create_database, create_missing, load_study, present_studies
from studies.storage.openings import log_test_opening
from studies.trials.loop import finished
from studies.workspace import Workspace
from tests.support.workspaces import make_workspace, rewrite


def remove(workspace: Workspace, *kinds: StudyKind) -> None:
    for kind in kinds:
        optuna.delete_study(study_name=kind, storage=f"sqlite:///{workspace.database_path}")


def remove_trial(workspace: Workspace, kind: StudyKind, number: int) -> None:
    """Delete all rows of a trial, as the dashboard does."""
    with closing(sqlite3.connect(workspace.database_path)) as connection:
        (trial,) = connection.execute(
            "SELECT trial_id FROM trials JOIN studies USING (study_id) WHERE study_name = ? AND number = ?",
            (kind, number),
        ).fetchone()
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "trial_id" in names:
                connection.execute(f"DELETE FROM {table} WHERE trial_id = ?", (trial,))
        connection.commit()


@pytest.mark.parametrize("kind", ["crf", "loss"])
def test_the_rest_is_shown_and_the_missing_study_named(tuned: Workspace, kind: StudyKind) -> None:
    remove(tuned, kind)
    facts = gather(tuned)
    assert facts["removed"] == [kind]
    assert facts["studies"][kind] is None
    result = CliRunner().invoke(app, ["status", str(tuned.root)])
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert f"holds no {kind} study: it was removed" in told
    assert f"`sonarseg tune {kind}` makes it again" in told
    assert "it was removed" in render(tuned.root, datetime.now(UTC))
    write_dashboard_notes(tuned.root)
    log_test_opening(tuned, "crf:1")
    assert gather(tuned)["test_openings"][0]["what"] == "crf:1"
    with pytest.raises(UserError, match=f"holds no {kind} study: it was removed"):
        load_study(tuned.database_path, kind)


def test_tune_makes_a_removed_loss_study_again(tuned: Workspace, run_settings: RunSettings) -> None:
    tune_loss(tuned, run_settings)
    warm_up = (tuned.warm_up_dir / "summary.json").stat().st_mtime_ns
    best = best_crf_trial(load_study(tuned.database_path, "crf")).number
    remove(tuned, "loss")
    assert not has_finished_run(tuned)
    with pytest.raises(UserError, match="it was removed"):
        best_run_dir(tuned)
    study = tune_loss(tuned, run_settings)
    assert len(finished(study)) == 6
    assert study.user_attrs["crf"]["trial"] == best
    assert (tuned.warm_up_dir / "summary.json").stat().st_mtime_ns == warm_up
    assert best_run_dir(tuned).is_dir()


def test_tune_makes_a_removed_crf_study_again(tuned: Workspace, run_settings: RunSettings) -> None:
    tune_loss(tuned, run_settings)
    chosen = load_study(tuned.database_path, "loss").user_attrs["crf"]
    remove(tuned, "crf")
    with pytest.raises(UserError, match="no trial of the crf study is complete"):
        tune_loss(rewrite(tuned, "trials = 6", "trials = 7"), run_settings)
    assert len(finished(tune_crf(tuned, run_settings))) == 7
    study = tune_loss(tuned, run_settings)
    assert study.user_attrs["crf"] == chosen


def test_both_are_made_again(tuned: Workspace) -> None:
    remove(tuned, "crf", "loss")
    assert present_studies(tuned.database) == {}
    assert gather(tuned)["removed"] == ["crf", "loss"]
    _, studies = open_studies(tuned)
    assert [study.user_attrs["kind"] for study in studies.values()] == ["crf", "loss"]


def test_settings_are_taken_over_from_what_is_left(
    tuned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(tuned, "loss")
    (tmp_path / "other").mkdir()
    workspace = make_workspace(tmp_path / "other", monkeypatch)
    _, studies = open_studies(workspace)
    assert take_over(studies, workspace, tuned.root) > 0


def test_a_file_with_studies_of_another_program_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    create_database(path, {})
    optuna.create_study(storage=f"sqlite:///{path}", study_name="theirs")
    with pytest.raises(UserError, match="does not hold the studies of a workspace"):
        create_missing(path, {"crf": {"kind": "crf"}, "loss": {"kind": "loss"}})
    assert optuna.get_all_study_names(f"sqlite:///{path}") == ["theirs"]


@pytest.mark.parametrize("number", [0, 3])
def test_a_removed_crf_trial_leaves_a_gap_that_nothing_trips_over(
    tuned: Workspace, run_settings: RunSettings, number: int
) -> None:
    remove_trial(tuned, "crf", number)
    ended: list[int] = []
    worker_options = WorkerOptions(workers=1, ended=(lambda study, trial: ended.append(trial.number),))
    study = tune_crf(rewrite(tuned, "trials = 7", "trials = 8"), run_settings, worker_options)
    numbers = [trial.number for trial in study.get_trials()]
    assert number not in numbers
    assert len(set(numbers)) == len(numbers)
    assert set(ended) <= set(numbers)
    with pytest.raises(UserError, match=f"has no trial {number}: its trials are"):
        crf_target(tuned, f"crf:{number}", None)  # type: ignore[arg-type]


def test_a_removed_loss_trial_keeps_the_others_logs(tuned: Workspace, run_settings: RunSettings) -> None:
    study = tune_loss(tuned, run_settings)
    last = max(trial.number for trial in study.get_trials())
    log = tuned.root / study.get_trials()[-1].user_attrs["run"] / "log.txt"
    log.write_text("epoch 1\n")
    remove_trial(tuned, "loss", 1)
    assert log_tail(tuned, last, 1) == "epoch 1"
    with pytest.raises(UserError, match=rf"--log 1: the loss study has the trials 0 and 2 to {last}\."):
        log_tail(tuned, 1, 1)
    assert len(finished(tune_loss(tuned, run_settings))) == 6
