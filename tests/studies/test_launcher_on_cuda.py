"""On a CUDA device, the program that launches studies computes nothing itself: it would keep memory there."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sonarseg.densecrf.engines.base import Engine
from sonarseg.progress import Progress, silent
from studies import pipeline
from studies.pipeline import tune_all, tune_crf
from studies.stages import device_work
from studies.stages.device_work import on_device
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study
from studies.trials.loop import finished
from studies.workers import worker
from studies.workers.leases import DeviceSlot
from studies.workspace import Workspace

Apart = list[tuple[str, str | None]]


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apart:
    """What the launcher has had called in other processes, and on which GPU; there is one, number 3."""
    called: Apart = []

    def note(call: "partial[Any]", progress: Progress) -> Any:
        called.append((call.func.__name__, os.environ.get("CUDA_VISIBLE_DEVICES")))
        return call(progress=progress)

    def slots(device: str, runs: int = 1) -> list[DeviceSlot]:
        return [DeviceSlot("cuda:3", 0, "3")]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device_work, "apart", note)
    monkeypatch.setattr(device_work, "pick_device", lambda name: torch.device("cuda", 0))
    for place in (pipeline, worker):
        monkeypatch.setattr(place, "device_slots", slots)
    return called


def test_maps_and_pseudo_labels_are_made_in_leased_processes(
    workspace: Workspace, run_settings: RunSettings, apart: Apart
) -> None:
    tune_all(workspace, run_settings)
    assert apart == [("fake_extract_cams", "3"), ("make_pseudo_labels", "3")]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    # Of what is there already, no process is started.
    tune_all(workspace, run_settings)
    assert len(apart) == 2


def test_crf_trials_of_a_device_run_in_a_process_of_their_own(
    workspace: Workspace, run_settings: RunSettings, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(*arguments: Any, **more: Any) -> None:
        pytest.fail("the launcher runs trials")

    monkeypatch.setattr(pipeline, "pick_engine", lambda *_: Engine("torch", "cuda:0"))
    monkeypatch.setattr(worker, "run_crf_study", here)
    told: list[int] = []
    options = pipeline.WorkerOptions(workers=1, ended=(lambda study, trial: told.append(trial.number),))
    study = tune_crf(workspace, run_settings, options)
    assert len(finished(load_study(workspace.database, "crf"))) == 7
    assert sorted(told) == [trial.number for trial in study.trials]


@pytest.mark.parametrize(("device", "expected"), [("cpu", False), ("cuda", True)])
def test_only_work_on_cuda_is_done_apart(
    device: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Callable[..., Any]] = []
    monkeypatch.setattr(device_work, "pick_device", torch.device)
    monkeypatch.setattr(device_work, "apart", lambda call, progress: calls.append(call))
    on_device(device, lambda *, progress: None, silent)
    assert bool(calls) == expected
