"""Trials whose worker died or was interrupted: found, failed, and run again.

A worker of this machine is known by its process; on a server, where workers of several machines beat, one
that has not beaten for long is dead as well. A trial that is run again goes on in its run folder and is
linked to the one before it, in Optuna's own way (`RetryHeartbeatStaleTrialCallback.retry_history`) and in
the user attribute `retry_of`.
"""

from __future__ import annotations

import copy
import os
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled
from optuna.trial import FrozenTrial, TrialState

from objectives.enqueued import enqueued_params
from objectives.records import attributes as attr
from objectives.records.trial import is_interrupted
from sonarseg.processes.identity import is_alive, is_of_this_machine, process_identity
from studies.storage.server import GRACE_SECONDS

DIED = "the program ended before this trial did."
# A trial that has killed so many workers is failed for good.
MOST_DEATHS = 3
# What a trial that is run again keeps: it is the same run, gone on with.
_KEPT = (
    attr.NAME,
    attr.ENQUEUED,
    attr.PROPOSAL,
    attr.REPETITION,
    attr.SEED,
    attr.RUN,
    attr.DEATHS,
    attr.MEMORY_RAN_OUT,
    attr.ORIGIN,
)


def worker_identity() -> dict[str, Any]:
    """Which thread of which process works on a trial."""
    return {**process_identity(os.getpid()), "thread": threading.get_native_id()}


def requeue_dead_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Fail the trials whose worker has died, and enqueue every interrupted trial once more.

    Call it while no other worker asks for a trial.

    Returns
    -------
    list of FrozenTrial
        The trials of the study after that, but for the newly enqueued ones.
    """
    trials = study.get_trials(deepcopy=False)
    dead = _dead(study, [trial for trial in trials if trial.state == TrialState.RUNNING])
    for trial in dead:
        # A worker that was taken for dead may tell its trial's end just now.
        with suppress(UpdateFinishedTrialError):
            _fail(study, trial)
    if dead:
        trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(attr.RETRY_OF) for trial in trials}
    for trial in trials:
        if is_interrupted(trial) and trial.number not in retried:
            _enqueue_again(study, trial)
    return trials


def _fail(study: optuna.Study, trial: FrozenTrial) -> None:
    storage = study._storage
    deaths = trial.user_attrs.get(attr.DEATHS, 0) + 1
    storage.set_trial_user_attr(trial._trial_id, attr.DEATHS, deaths)
    if deaths <= MOST_DEATHS:
        storage.set_trial_user_attr(trial._trial_id, attr.INTERRUPTED, True)
        storage.set_trial_user_attr(trial._trial_id, attr.REASON, DIED)
    else:
        reason = f"its program ended {deaths} times before this trial did; it is not tried again."
        storage.set_trial_user_attr(trial._trial_id, attr.REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _dead(study: optuna.Study, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    storage = study._storage
    stale = set(_stale_ids(storage, study._study_id)) if running and is_shared(storage) else set()
    return [trial for trial in running if _is_dead(trial, is_shared(storage), stale)]


def is_shared(storage: BaseStorage) -> bool:
    """Whether workers of several machines use the storage, and so beat."""
    return bool(is_heartbeat_enabled(storage))


def _stale_ids(storage: BaseStorage, study_id: int) -> list[int]:
    assert isinstance(storage, BaseHeartbeat)
    return list(storage._get_stale_trial_ids(study_id))


def _is_dead(trial: FrozenTrial, shared: bool, stale: set[int]) -> bool:
    worker = trial.user_attrs.get(attr.WORKER)
    if worker is None:
        # It died between asking and saying who it is. On one machine nobody else is there now; on a server
        # whoever asked may have lost its turn with its connection, and is about to say it.
        return not shared or _is_old(trial)
    if trial._trial_id in stale:
        # Its process may live, and work on something else.
        return True
    if not is_of_this_machine(worker):
        # A workspace with a file of its own is worked on by one machine: it was copied from the other.
        return not shared
    return worker == worker_identity() or not is_alive(worker)


def _is_old(trial: FrozenTrial) -> bool:
    age = datetime.now() - (trial.datetime_start or datetime.now())
    return age.total_seconds() > GRACE_SECONDS


def died_here(trial: FrozenTrial) -> bool:
    """Whether a running trial's worker was a process of this machine that is gone."""
    worker = trial.user_attrs.get(attr.WORKER)
    return worker is not None and is_of_this_machine(worker) and not is_alive(worker)


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    again = copy.copy(trial)
    again.user_attrs = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
    again.user_attrs[attr.RETRY_OF] = trial.number
    # What it had chosen, and what it was told to choose and had not come to; ranges are left to the search.
    fixed = {**enqueued_params(trial.system_attrs), **trial.params}
    again.system_attrs = {**copy.deepcopy(trial.system_attrs), "fixed_params": fixed}
    again.params, again.distributions = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, again)
