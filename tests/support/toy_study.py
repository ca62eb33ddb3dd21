"""A study of short trials that a test can kill at any moment: `python toy_study.py WORKSPACE BUDGET WORKERS`.

The launcher, the workers and the loop are the real ones; only what a trial does is a toy.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import optuna

from studies.storage.open import load_study
from studies.trials.loop import TrialCallbacks, run_trials
from studies.workers.local import LocalWorkers
from studies.workers.observer import Observer
from studies.workers.worker import Ending, WorkerTask
from studies.workspace import Workspace

HERE = Path(__file__).parent
ATTRS = {"kind": "crf", "metric": "miou"}
REPORTS = 20


def toy_workspace(folder: Path) -> Workspace:
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text('name = "toy"\nsurvey = "nowhere"\n')
    return Workspace(folder)


def toy_environment() -> dict[str, str]:
    """Environment in which worker processes find the toy study."""
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def toy_value(params: dict[str, float]) -> float:
    return 1.0 - (params["x"] - 0.3) ** 2 - abs(params["y"] - 0.6)


def objective(seconds: float) -> Any:
    def run(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_float(name, 0, 1) for name in ("x", "y")}
        value = toy_value(params)
        for step in range(REPORTS):
            trial.report(value - 0.01 * (REPORTS - step), step)
            if seconds:
                time.sleep(seconds / REPORTS)
        return value

    return run


def toy_stage(workspace: Workspace, kind: Any, run_settings: Any, stop: Any, callbacks: Any) -> None:
    budget, seconds = run_settings.command
    study = load_study(workspace.database, kind)
    study.sampler = optuna.samplers.RandomSampler()
    run_trials(study, objective(float(seconds)), int(budget), workspace, stop=stop, callbacks=callbacks)


def toy_work(task: WorkerTask) -> Ending:
    from studies.workers import worker

    worker.run_stage = toy_stage  # type: ignore[assignment]
    worker.device_slots = lambda device, runs=1: [worker_slot()]  # type: ignore[assignment]
    return worker.work(task)


def lossy_stage(workspace: Workspace, kind: Any, run_settings: Any, stop: Any, callbacks: Any) -> None:
    """As `toy_stage`, on a device that is lost in its second trial where a file says so, which it takes."""
    from sonarseg.errors import DeviceLost

    budget, seconds = run_settings.command
    study = load_study(workspace.database, kind)
    study.sampler = optuna.samplers.RandomSampler()
    run, begun = objective(float(seconds)), 0

    def lossy(trial: optuna.Trial) -> float:
        nonlocal begun
        begun += 1
        for faulty in workspace.root.glob("faulty-*") if begun == 2 else ():
            try:
                faulty.unlink()
            except FileNotFoundError:
                continue
            raise DeviceLost("the CUDA device was lost (unspecified launch failure): look at nvidia-smi.")
        return float(run(trial))

    run_trials(study, lossy, int(budget), workspace, stop=stop, callbacks=callbacks)


def lossy_work(task: WorkerTask) -> Ending:
    from studies.workers import worker

    worker.run_stage = lossy_stage  # type: ignore[assignment]
    worker.device_slots = lambda device, runs=1: [worker_slot()]  # type: ignore[assignment]
    return worker.work(task)


def deadly_work(task: WorkerTask) -> Ending:
    os._exit(1)


def stubborn_work(task: WorkerTask) -> Ending:
    time.sleep(60)
    return "done"


def worker_slot() -> Any:
    from studies.workers.leases import DeviceSlot

    return DeviceSlot("cpu")


def main(root: str, budget: str, workers: str, seconds: str) -> int:
    from studies.stages.run_settings import RunSettings

    workspace = Workspace(Path(root))
    study = load_study(workspace.database, "crf")
    observer = Observer(study, int(budget), TrialCallbacks())
    task = WorkerTask(root, "crf", RunSettings(command=(budget, seconds)))
    LocalWorkers(toy_work).run(task, int(workers), observer)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
