"""The pipeline over a backend without processes: workers die, lose their device and are interrupted."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from objectives.records import attributes as attr
from sonarseg.errors import DeviceLost
from studies.pipeline import WorkerOptions, tune_crf, tune_loss
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study
from studies.trials.loop import finished
from studies.workers.backend import WorkerBackend
from studies.workers.dask import DaskWorkers
from studies.workers.local import LocalWorkers
from studies.workspace import Workspace
from tests.support.simulated_backend import Fate, SimulatedBackend
from tests.support.workspaces import make_run_settings


def interrupted(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.trials if trial.user_attrs.get(attr.INTERRUPTED)]


def test_every_backend_says_whether_this_machine_computes() -> None:
    backends: list[WorkerBackend] = [LocalWorkers(), DaskWorkers("tcp://ship:8786"), SimulatedBackend()]
    assert [backend.here for backend in backends] == [True, False, True]


def test_trials_of_killed_workers_are_run_again(workspace: Workspace, run_settings: RunSettings) -> None:
    backend = SimulatedBackend([Fate(2, "killed"), Fate(0, "killed")])
    ended: list[int] = []
    listener = (lambda study, trial: ended.append(trial.number),)
    study = tune_crf(workspace, run_settings, WorkerOptions(2, backend, ended=listener))
    dead = interrupted(study)
    assert len(dead) == 2
    assert all(
        study.trials[number].user_attrs[attr.REASON].startswith("the program ended") for number in dead
    )
    retried = [trial.user_attrs.get(attr.RETRY_OF) for trial in study.trials]
    assert set(dead) <= set(retried)
    assert [trial.state for trial in finished(study)] == [TrialState.COMPLETE] * 7
    assert sorted(ended) == [trial.number for trial in study.trials]


def test_the_others_go_on_with_the_trial_of_a_lost_device(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    backend = SimulatedBackend([Fate(1, "device lost")])
    study = tune_crf(workspace, run_settings, WorkerOptions(2, backend))
    (lost,) = interrupted(study)
    assert "device was lost" in study.trials[lost].user_attrs[attr.REASON]
    assert len(finished(study)) == 7


def test_without_a_device_left_the_command_ends_and_goes_on_later(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    backend = SimulatedBackend([Fate(1, "device lost"), Fate(1, "device lost")])
    with pytest.raises(DeviceLost):
        tune_crf(workspace, run_settings, WorkerOptions(2, backend))
    assert len(finished(load_study(workspace.database_path, "crf"))) == 2
    assert len(finished(tune_crf(workspace, run_settings, WorkerOptions(2, backend)))) == 7


def test_ctrl_c_ends_the_command_and_it_goes_on_later(tuned: Workspace, run_settings: RunSettings) -> None:
    backend = SimulatedBackend([Fate(2, "interrupted")])
    with pytest.raises(KeyboardInterrupt):
        tune_loss(tuned, run_settings, WorkerOptions(2, backend))
    assert len(finished(load_study(tuned.database_path, "loss"))) == 2
    assert len(finished(tune_loss(tuned, run_settings, WorkerOptions(2, backend)))) == 6


def test_what_all_runs_start_from_is_there_before_a_worker_starts(
    tuned: Workspace, run_settings: RunSettings
) -> None:
    there: list[Path] = []

    class Looking(SimulatedBackend):
        def run(self, task, workers, observe):  # type: ignore[no-untyped-def]
            there.extend(tuned.pseudo_labels_dir.iterdir())
            super().run(task, workers, observe)

    tune_loss(tuned, run_settings, WorkerOptions(2, Looking()))
    assert len(there) == 1


def test_one_worker_needs_no_backend(workspace: Workspace) -> None:
    backend = SimulatedBackend()
    told: list[str] = []
    run_settings = make_run_settings("good", progress=lambda what, *rest: told.append(what))
    tune_crf(workspace, run_settings, WorkerOptions(1, backend))
    assert backend.sent == []
    assert "crf study" in told


def test_progress_is_shown_by_the_launcher_alone(workspace: Workspace) -> None:
    backend = SimulatedBackend()
    notes: list[tuple[str, int, int]] = []
    run_settings = make_run_settings("good", progress=lambda *args: notes.append(args[:3]))
    tune_crf(workspace, run_settings, WorkerOptions(2, backend))
    (task, workers) = backend.sent[0]
    assert (task.kind, workers) == ("crf", 2)
    task.run_settings.progress("anything", 0, 1)
    assert notes[-1] == ("crf study", 7, 7)
    assert ("crf study", 0, 7) in notes
