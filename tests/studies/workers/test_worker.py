"""What a worker takes from its launcher, and what it settles on its own machine."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sonarseg.survey import layout
from sonarseg.survey.layout import Survey, open_survey
from studies import pipeline
from studies.pipeline import WorkerOptions, tune_all, tune_crf, tune_loss
from studies.stages.run_settings import RunSettings
from studies.workers import worker
from studies.workers.dask import _sharing
from studies.workers.worker import WorkerTask, work
from studies.workspace import Workspace

Begun = list[tuple[Workspace, RunSettings]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """What workers have begun with."""
    found: Begun = []
    monkeypatch.setattr(
        worker,
        "run_stage",
        lambda workspace, kind, run_settings, stop, callbacks: found.append((workspace, run_settings)),
    )
    return found


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Surveys whose files were read for their fingerprint."""
    found: list[Path] = []
    fingerprints: Callable[[Survey], tuple[str, str]] = layout.survey_fingerprints

    def counted(survey: Survey) -> tuple[str, str]:
        found.append(survey.root)
        return fingerprints(survey)

    monkeypatch.setattr(layout, "survey_fingerprints", counted)
    return found


def test_a_survey_is_read_once_a_command(
    workspace: Workspace, run_settings: RunSettings, hashed: list[Path]
) -> None:
    tune_all(workspace, run_settings)
    assert hashed == [workspace.survey_path]
    tune_all(Workspace(workspace.root), run_settings)
    assert hashed == 2 * [workspace.survey_path]


def test_nobody_waits_while_a_survey_is_read(
    workspace: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints, locked = layout.survey_fingerprints, []
    original = Workspace.lock

    def lock(self: Workspace, *arguments: Any) -> Any:
        locked.append(True)
        return original(self, *arguments)

    def read(survey: Survey) -> tuple[str, str]:
        assert not locked, "the workspace was locked before"
        return fingerprints(survey)

    monkeypatch.setattr(Workspace, "lock", lock)
    monkeypatch.setattr(layout, "survey_fingerprints", read)
    tune_crf(workspace, run_settings)
    assert locked


def test_a_worker_does_not_read_the_survey_again(
    workspace: Workspace, begun: Begun, hashed: list[Path]
) -> None:
    survey = open_survey(workspace.survey_path)
    known = survey.fingerprint
    task = pickle.loads(pickle.dumps(WorkerTask(str(workspace.root), "crf", survey=survey)))
    assert work(task) == "done"
    assert begun[0][0].survey().fingerprint == known
    assert len(hashed) == 1


@pytest.mark.parametrize(("jobs", "sharing", "share"), [(3, 2, 3), (0, 1, 8), (0, 3, 2), (0, 20, 1)])
def test_a_worker_counts_the_cores_of_its_own_machine(
    workspace: Workspace, begun: Begun, monkeypatch: pytest.MonkeyPatch, jobs: int, sharing: int, share: int
) -> None:
    monkeypatch.setattr(worker, "cpu_count", lambda: 8)
    assert work(WorkerTask(str(workspace.root), "crf", RunSettings(jobs), sharing=sharing)) == "done"
    assert begun[0][1].processes == share


def test_workers_of_one_machine_share_it() -> None:
    threads = {"tcp://10.0.0.1:40001": 2, "tcp://10.0.0.1:40002": 2, "tcp://10.0.0.2:40001": 1}
    assert _sharing(threads, 5) == 4
    assert _sharing(threads, 3) == 3
    assert _sharing({"tcp://10.0.0.1:40001": 1, "tcp://10.0.0.2:40001": 1}, 2) == 1


class IdleCluster:
    """Takes tasks, and does none."""

    here = False

    def __init__(self) -> None:
        self.sent: list[tuple[WorkerTask, int | None]] = []

    def run(self, task: WorkerTask, workers: int | None, observe: Callable[[], int]) -> None:
        self.sent.append((task, workers))


@pytest.mark.parametrize("tune", [tune_crf, tune_loss], ids=["crf", "loss"])
def test_the_launcher_of_a_cluster_computes_nothing(
    workspace: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch, tune: Callable[..., Any]
) -> None:
    """It may be a login node, without GPU and with other cores."""

    def computed(*arguments: Any, **more: Any) -> None:
        pytest.fail("the launcher computes")

    for name in ("prepare", "prepare_loss", "work_on", "pick_engine", "device_slots", "crf_workers"):
        monkeypatch.setattr(pipeline, name, computed)
    cluster = IdleCluster()
    tune(workspace, replace(run_settings, jobs=0), WorkerOptions(backend=cluster))
    ((task, workers),) = cluster.sent
    assert (task.run_settings.jobs, workers) == (0, None)
    assert not workspace.runs_dir.exists()
