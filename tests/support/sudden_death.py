"""Kill a worker in the middle of a trial, whatever the load of the machine."""

import os
import signal
import time

import optuna
from optuna.trial import TrialState

from studies.trials.loop import finished


def kill_a_worker(study: optuna.Study, after: int) -> None:
    """Kill a worker of this machine amid a trial, once `after` trials have ended.

    Raises
    ------
    AssertionError
        Where that was not possible within two minutes.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        started = [trial for trial in running if "worker" in trial.user_attrs]
        if started and len(finished(study)) >= after and _killed_amid(study, started[0]):
            return
        time.sleep(0.05)
    raise AssertionError("no worker could be killed amid a trial")


def _killed_amid(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
    """Stop the worker, look whether the trial is still its own, and only then kill it."""
    pid = trial.user_attrs["worker"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    amid = study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING
    os.kill(pid, signal.SIGKILL if amid else signal.SIGCONT)
    return amid
