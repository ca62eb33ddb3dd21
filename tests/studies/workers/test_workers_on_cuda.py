"""Workers on two pretended GPUs: what each computes lies on the GPU that it has leased."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonarseg.densecrf.engines.base import pick_engine
from studies.confirmation.confirm import confirm
from studies.stages.run_settings import RunSettings
from studies.storage.open import load_study
from studies.trials.loop import TrialCallbacks, finished
from studies.workers.leases import device_slots, lease
from studies.workers.worker import WorkerTask, work_on
from studies.workspace import Workspace
from tests.support.simulated_cuda import Simulation, simulated_cuda


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with simulated_cuda(2) as simulation:
        yield simulation


@pytest.fixture
def free(gpus: Simulation, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The GPU that is free: another worker holds the other one."""
    taken = 1 - int(request.param)
    monkeypatch.setattr("studies.stages.device_work.apart", lambda call, progress: call(progress=progress))
    slots = device_slots("cuda")
    assert [slot.visible for slot in slots] == ["0", "1"]
    with lease([slots[taken]]), monkeypatch.context() as here:
        # Another worker's lease changes nothing in this one's environment.
        here.delenv("CUDA_VISIBLE_DEVICES")
        yield request.param
    assert gpus.made[str(taken)] == 0


def run_crf_worker(workspace: Workspace, run_settings: RunSettings) -> list[str]:
    work_on(workspace, WorkerTask(str(workspace.root), "crf", run_settings), TrialCallbacks())
    return [trial.user_attrs["device"] for trial in finished(load_study(workspace.database, "crf"))]


@pytest.mark.parametrize("free", ["0", "1"], indirect=True)
def test_a_worker_computes_on_the_gpu_that_is_free(
    workspace: Workspace, run_settings: RunSettings, gpus: Simulation, free: str
) -> None:
    assert str(pick_engine()) == "torch on cuda:0"
    assert run_crf_worker(workspace, run_settings) == 7 * [f"cuda:{free}"]
    assert gpus.made[free] > 100
    # Kept are the lattices of the tiles' size, and of those that the engines were timed with.
    assert gpus.held().get(free, 0) < 5_000_000


@pytest.mark.parametrize("free", ["1"], indirect=True)
def test_a_confirmation_computes_on_the_gpu_that_is_free(
    tuned: Workspace, run_settings: RunSettings, gpus: Simulation, free: str
) -> None:
    assert confirm(tuned, "crf", run_settings=run_settings)["finished"]
    assert gpus.made[free] > 100


def test_asking_which_devices_there_are_does_not_settle_which_are_seen(
    gpus: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(device_slots("auto", 2)) == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [slot.visible for slot in device_slots("auto")] == ["1"]
    assert gpus.made == {}
