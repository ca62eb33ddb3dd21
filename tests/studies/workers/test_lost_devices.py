"""A worker whose device is lost leaves its trial to the others, who end the study."""

import logging
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from objectives.run_monitor import follow_run
from sonarseg.errors import DeviceLost
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study
from studies.trials.loop import TrialCallbacks, finished
from studies.workers.local import LocalWorkers
from studies.workers.observer import Observer
from studies.workers.worker import WorkerTask
from studies.workspace import Workspace
from tests.support import toy_study

BUDGET = 12


def run_with_losses(place: Workspace, monkeypatch: pytest.MonkeyPatch, losses: int) -> None:
    for name, value in toy_study.toy_environment().items():
        monkeypatch.setenv(name, value)
    for number in range(losses):
        (place.root / f"faulty-{number}").touch()
    study = load_study(place.database_path, "crf")
    task = WorkerTask(str(place.root), "crf", RunSettings(command=(str(BUDGET), "0.1")))
    LocalWorkers(toy_study.lossy_work).run(task, 2, Observer(study, BUDGET, TrialCallbacks()))


@pytest.mark.timeout(120)
def test_the_others_go_on(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run_with_losses(place, monkeypatch, losses=1)
    (told,) = (record.getMessage() for record in caplog.records if "lost" in record.getMessage())
    assert told.startswith("the CUDA device was lost (unspecified launch failure): look at nvidia-smi.")
    assert told.endswith(" The study goes on with 1 of its workers.")
    study = load_study(place.database_path, "crf")
    assert len(finished(study)) == BUDGET
    assert all(trial.state == TrialState.COMPLETE for trial in finished(study))
    (lost,) = (trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert "device was lost" in lost.user_attrs["reason"]
    assert [trial for trial in study.trials if trial.user_attrs.get("retry_of") == lost.number]


@pytest.mark.timeout(120)
def test_without_any_device_left_it_ends_and_goes_on_later(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceLost, match="device was lost"):
        run_with_losses(place, monkeypatch, losses=2)
    study = load_study(place.database_path, "crf")
    assert not any(trial.state == TrialState.RUNNING for trial in study.trials)
    assert len(finished(study)) < BUDGET
    run_with_losses(place, monkeypatch, losses=0)
    assert len(finished(load_study(place.database_path, "crf"))) == BUDGET


def test_a_run_that_lost_its_device_says_so_to_its_follower(tmp_path: Path) -> None:
    program = "import sys; print('the CUDA device was lost.', file=sys.stderr); sys.exit(4)"
    with pytest.raises(DeviceLost, match=r"^the CUDA device was lost\.$"):
        follow_run(tmp_path, lambda line: None, command=(sys.executable, "-c", program))
