"""Workers without processes: one after the other in this process, and each ends as a script says."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna

from objectives.records import attributes as attr
from sonarseg.errors import DeviceLost
from studies.storage.open import load_study
from studies.trials.heartbeat import worker_identity
from studies.trials.loop import TrialCallbacks
from studies.workers.worker import WorkerTask, work_on
from studies.workspace import Workspace

LOST = "the CUDA device was lost: look at nvidia-smi."


@dataclass(frozen=True)
class Fate:
    """A worker ends some trials, and then by an accident, in the midst of the next one."""

    trials: int
    end: Literal["killed", "device lost", "interrupted"]


class Killed(BaseException):
    """A worker is gone, and could tell nobody."""


@dataclass
class SimulatedBackend:
    """A backend whose first workers meet their fates; one that meets none ends the study.

    As in the real ones a worker that was killed is replaced, and one whose device was lost is not.
    """

    fates: list[Fate] = field(default_factory=list)
    here: bool = True
    sent: list[tuple[WorkerTask, int | None]] = field(default_factory=list)

    def run(self, task: WorkerTask, workers: int | None, observe: Callable[[], int]) -> None:
        """As `WorkerBackend.run`."""
        self.sent.append((task, workers))
        left = workers or 1
        while self.fates:
            fate = self.fates.pop(0)
            try:
                _work(task, fate)
            except Killed:
                _leave_a_trial(task)
            except DeviceLost:
                left -= 1
                if left == 0:
                    raise
            finally:
                observe()
        _work(task, None)
        observe()


def _work(task: WorkerTask, fate: Fate | None) -> None:
    begun = 0

    def meet(study: optuna.Study, trial: Any) -> None:
        nonlocal begun
        begun += 1
        if fate is not None and begun > fate.trials:
            raise {"killed": Killed, "interrupted": KeyboardInterrupt}.get(fate.end, DeviceLost)(LOST)

    workspace = Workspace(Path(task.root), task.survey)
    if fate is not None and fate.end == "killed":
        if fate.trials == 0:
            raise Killed
        begun = 1
        # Between two trials: in the midst of one, its end would be told.
        work_on(workspace, task, TrialCallbacks(ended=(meet,)))
    else:
        work_on(workspace, task, TrialCallbacks(asked=(meet,)))


def _leave_a_trial(task: WorkerTask) -> None:
    """Leave a running trial of a process that is gone: of one that had this number before."""
    trial = load_study(Workspace(Path(task.root)).database, task.kind).ask()
    trial.set_user_attr(attr.WORKER, worker_identity() | {"pid": os.getpid(), "started": "before"})
