"""Work off a study's budget: ask, try, tell; and take up again what an earlier start left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.outcome import TrialFailed
from objectives.process_identity import is_alive, process_identity
from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from studies.storage import storage_errors
from studies.workspace import Workspace

INTERRUPTED = "interrupted"
# User attribute of a trial that is read off another one and costs nothing: the other one's number
DERIVED = "derived_from"
DIED = "the program ended before this trial did."
# What a trial that is run again keeps: it is the same run, gone on with.
_KEPT = ("name", "enqueued", "repetition", "seed", "run")


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    budget: int,
    workspace: Workspace,
    *,
    before_ask: Callable[[int], None] | None = None,
    after_tell: Callable[[], None] | None = None,
    at_once: int = 1,
    progress: Progress = silent,
) -> None:
    """Run trials until `budget` trials of the study are finished.

    Complete, pruned and failed trials count; interrupted ones do not and are run again, with the
    same parameters, seed and run folder. Several programs may work on one workspace.

    Parameters
    ----------
    study : optuna.Study
        Loaded with sampler and pruner.
    objective : callable
        Returns a trial's value, or raises TrialPruned or TrialFailed with a reason.
    budget : int
        Trials of the whole study, not of this call.
    workspace : Workspace
        Where the study lives.
    before_ask : callable, optional
        Given the trials left, before each is asked for; may enqueue.
    after_tell : callable, optional
        Called when a trial has ended; may add trials that are outside the budget.
    at_once : int
        Trials asked for together and run in threads.
    progress : Progress
        Called a trial.

    Raises
    ------
    UserError
        Where the workspace cannot be written to, or the objective raised it.
    KeyboardInterrupt
        After Ctrl-C; the trial under way is run again at the next start.
    """
    with storage_errors(workspace.database_path):
        while True:
            with workspace.alone(progress):
                trials = revive(study)
                left = budget - _spent(trials)
                _show(study, trials, budget, progress)
                if left <= 0:
                    return
                if before_ask is not None:
                    before_ask(left)
                asked = [_ask(study) for _ in range(min(at_once, left))]
            if len(asked) == 1:
                _run(study, asked[0], objective)
            else:
                with ThreadPoolExecutor(len(asked)) as threads:
                    for ended in [threads.submit(_run, study, trial, objective) for trial in asked]:
                        ended.result()
            if after_tell is not None:
                after_tell()


def _ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("worker", process_identity(os.getpid()))
    return trial


def _run(study: optuna.Study, trial: optuna.Trial, objective: Callable[[optuna.Trial], float]) -> None:
    try:
        value = objective(trial)
    except optuna.TrialPruned as pruned:
        trial.set_user_attr("reason", str(pruned))
        study.tell(trial, state=TrialState.PRUNED)
    except TrialFailed as failed:
        trial.set_user_attr("reason", str(failed))
        study.tell(trial, state=TrialState.FAIL)
    except BaseException as error:
        trial.set_user_attr(INTERRUPTED, True)
        trial.set_user_attr("reason", _why_stopped(error))
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        study.tell(trial, value)


def _why_stopped(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the next start goes on with it."
    return f"stopped by {type(error).__name__}: {error}"


def revive(study: optuna.Study) -> list[FrozenTrial]:
    """Fail the trials whose program has died, and enqueue every interrupted trial once more.

    Returns
    -------
    list of FrozenTrial
        The trials of the study after that, but for the newly enqueued ones.
    """
    storage = study._storage
    me = process_identity(os.getpid())
    trials = study.get_trials(deepcopy=False)
    dead = 0
    for trial in trials:
        if trial.state != TrialState.RUNNING:
            continue
        worker = trial.user_attrs.get("worker")
        if worker is None or worker == me or not is_alive(worker):
            storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
            storage.set_trial_user_attr(trial._trial_id, "reason", DIED)
            study.tell(trial.number, state=TrialState.FAIL)
            dead += 1
    if dead:
        trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get("retry_of") for trial in trials}
    for trial in trials:
        if _is_interrupted(trial) and trial.number not in retried:
            study.enqueue_trial(_params(trial), user_attrs=_kept(trial))
    return trials


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """Collect what the trial had chosen, and what it was told to choose and had not come to."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _kept(trial: FrozenTrial) -> dict[str, Any]:
    kept = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
    return {**kept, "retry_of": trial.number}


def _is_interrupted(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get(INTERRUPTED))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials of the budget that have ended: complete, pruned, or failed with a reason of their own."""
    return _finished(study.get_trials(deepcopy=False))


def _finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [
        trial
        for trial in trials
        if trial.state.is_finished() and not _is_interrupted(trial) and DERIVED not in trial.user_attrs
    ]


def spent(study: optuna.Study) -> int:
    """Trials of the budget that are finished or under way."""
    return _spent(study.get_trials(deepcopy=False))


def _spent(trials: Sequence[FrozenTrial]) -> int:
    return len(_finished(trials)) + sum(trial.state == TrialState.RUNNING for trial in trials)


def _show(study: optuna.Study, trials: Sequence[FrozenTrial], budget: int, progress: Progress) -> None:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    note = ""
    if complete:
        best = max(complete, key=lambda trial: float(trial.value or 0.0))
        called = best.user_attrs.get("name")
        note = f"best {study.user_attrs['metric']} {best.value:.3f} (trial {best.number}" + (
            f", {called})" if called else ")"
        )
    progress(f"{study.study_name} study", min(len(_finished(trials)), budget), budget, note)
