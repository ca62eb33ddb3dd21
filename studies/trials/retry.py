"""Trials whose worker died or was interrupted: failed, and run again.

A trial that is run again goes on in its run folder and is linked to the one before it, in Optuna's own way
(`RetryHeartbeatStaleTrialCallback.retry_history`) and in the user attribute `retry_of`.
"""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from objectives.enqueued import enqueued_params
from objectives.records import attributes as attr
from objectives.records.trial import FIXED_PARAMS, is_interrupted
from studies.trials.heartbeat import dead_trials

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


def requeue_dead_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Fail the trials whose worker has died, and enqueue every interrupted trial once more.

    Call it while no other worker asks for a trial.

    Returns
    -------
    list of FrozenTrial
        The trials of the study after that, but for the newly enqueued ones.
    """
    trials = study.get_trials(deepcopy=False)
    dead = dead_trials(study, [trial for trial in trials if trial.state == TrialState.RUNNING])
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


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    again = copy.copy(trial)
    again.user_attrs = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
    again.user_attrs[attr.RETRY_OF] = trial.number
    # What it had chosen, and the enqueued values that it had not come to; ranges are left to the search.
    fixed = {**enqueued_params(trial.system_attrs), **trial.params}
    again.system_attrs = {**copy.deepcopy(trial.system_attrs), FIXED_PARAMS: fixed}
    again.params, again.distributions = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback()(study, again)
