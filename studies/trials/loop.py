"""Work off a study's budget: ask, try, tell; and take up again what an earlier start left behind."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

from objectives.outcome import OutOfMemory, SettingRefused, TrialFailed
from objectives.records import attributes as attr
from objectives.records.map_ranking import best_maps
from objectives.records.ranking import best_trial, rank_losses
from objectives.records.trial import is_finished, objective_value
from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from studies.storage.open import storage_errors
from studies.trials.ask_lock import ask_lock
from studies.trials.heartbeat import heartbeat, is_shared, worker_identity
from studies.trials.retry import requeue_dead_trials
from studies.trials.stopping import NEVER, StopRules
from studies.workspace import Workspace

# So often a worker looks whether the last trials, which others run, have ended.
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


AskedListener = Callable[[optuna.Study, optuna.Trial], None]
EndedListener = Callable[[optuna.Study, FrozenTrial], None]


@dataclass(frozen=True)
class TrialCallbacks:
    """Listeners of a trial loop; each is given study and trial, as Optuna's own callbacks are.

    Attributes
    ----------
    progress : Progress
        Called per trial.
    asked : tuple of callable
        Called when a trial was asked for, before another worker asks: may choose its parameters.
    ended : tuple of callable
        Called when a trial has ended; may add trials that are outside the budget.
    """

    progress: Progress = silent
    asked: tuple[AskedListener, ...] = ()
    ended: tuple[EndedListener, ...] = ()

    def also(
        self, *, asked: tuple[AskedListener, ...] = (), ended: tuple[EndedListener, ...] = ()
    ) -> TrialCallbacks:
        """Add listeners, which are called after those that are there."""
        return replace(self, asked=self.asked + asked, ended=self.ended + ended)

    def on_ended(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Call the listeners of a trial that has ended."""
        for listener in self.ended:
            listener(study, trial)


def run_trials(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float | Sequence[float]],
    budget: int,
    workspace: Workspace,
    *,
    enqueue: Callable[[optuna.Study, int], bool] | None = None,
    stop: StopRules = NEVER,
    callbacks: TrialCallbacks = TrialCallbacks(),
) -> None:
    """Run trials until `budget` trials of the study are finished or a stop rule holds.

    Complete, pruned and failed trials count; interrupted ones do not and are run again, with the
    same parameters, seed and run folder. Any number of workers may work on one study; one that finds
    nothing left to begin waits for the others' runs, and takes over that of a worker that dies.

    Parameters
    ----------
    study : optuna.Study
        Loaded with sampler and pruner.
    objective : callable
        Returns a trial's value or values, or raises TrialPruned or TrialFailed with a reason.
    budget : int
        Trials of the whole study, not of this call.
    workspace : Workspace
        Where the study lives.
    enqueue : callable, optional
        Given study and trials left, before each is asked for; may enqueue; False if nothing is left to try.
    stop : StopRules
        When to begin no more trials although the budget is not spent.
    callbacks : TrialCallbacks
        Listeners.

    Raises
    ------
    UserError
        Where the workspace cannot be written to, or the objective raised it.
    KeyboardInterrupt
        After Ctrl-C; the trial under way is run again at the next start.
    """
    with storage_errors(workspace.database):
        while True:
            with ask_lock(study, workspace, callbacks.progress):
                trials = requeue_dead_trials(study)
                done, left = len(_finished(trials)), budget - _spent(trials)
                others = "" if left > 0 or done >= budget else "waiting for the last runs of other workers"
                show_progress(study, trials, budget, callbacks.progress, others)
                if done >= budget:
                    return
                reason = stop.reason(_finished(trials))
                # Nothing is asked of the grid where nothing is left to ask for.
                if reason is None and left > 0 and enqueue is not None and not enqueue(study, left):
                    reason = "every point of the grid was tried"
                if reason is not None:
                    _note_stop(study, reason, callbacks.progress, done, budget)
                    if stop.out_of_time() or not _awaited(study, trials):
                        return
                trial = _ask(study) if left > 0 and reason is None else None
                if trial is not None:
                    # The objective refuses a wrong setting again, as an end of the trial.
                    with _ended_with_this(study, trial), suppress(SettingRefused):
                        for listener in callbacks.asked:
                            listener(study, trial)
            if trial is None:
                # Stay: if another worker dies, its trial is run again here.
                time.sleep(_LOOK_SECONDS)
                continue
            with heartbeat(study, trial._trial_id):
                ended = _run(study, trial, objective)
            if not ended:
                continue
            for each in study.get_trials(deepcopy=False):
                # Not by its index: somebody may have removed trials meanwhile.
                if each.number == trial.number:
                    callbacks.on_ended(study, each)


def _awaited(study: optuna.Study, trials: Sequence[FrozenTrial]) -> bool:
    """Whether others' trials may still change what follows: later studies start from the best one."""
    return study.user_attrs.get(attr.KIND) in ("cam", "crf") and any(
        t.state == TrialState.RUNNING for t in trials
    )


def _note_stop(study: optuna.Study, reason: str, progress: Progress, done: int, budget: int) -> None:
    if study.user_attrs.get(attr.STOPPED) != reason:
        study.set_user_attr(attr.STOPPED, reason)
    progress(study_title(study), done, budget, f"stopped: {reason}")


def _ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    if study.user_attrs.get(attr.STOPPED) is not None:
        study.set_user_attr(attr.STOPPED, None)
    storage = study._storage
    if is_shared(storage):
        assert isinstance(storage, BaseHeartbeat)
        # Before its worker has a name: a trial that has one and never beat would not count as dead.
        storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr(attr.WORKER, worker_identity())
    return trial


def _run(
    study: optuna.Study, trial: optuna.Trial, objective: Callable[[optuna.Trial], float | Sequence[float]]
) -> bool:
    """Run a trial and tell its end; False where another worker has taken it over meanwhile."""
    try:
        _run_and_tell(study, trial, objective)
    except UpdateFinishedTrialError:
        _log.warning(
            "trial %d of the %s was taken over by another worker; this one goes on with the next.",
            trial.number,
            study_title(study),
        )
        return False
    return True


def _run_and_tell(
    study: optuna.Study, trial: optuna.Trial, objective: Callable[[optuna.Trial], float | Sequence[float]]
) -> None:
    try:
        with _ended_with_this(study, trial):
            value = objective(trial)
    except UpdateFinishedTrialError:
        raise
    except optuna.TrialPruned as pruned:
        trial.set_user_attr(attr.REASON, str(pruned))
        study.tell(trial, state=TrialState.PRUNED)
    except OutOfMemory as failed:
        # It is no part of the budget: it is run again, perhaps with smaller batches.
        trial.set_user_attr(attr.MEMORY_RAN_OUT, trial.user_attrs.get(attr.MEMORY_RAN_OUT, 0) + 1)
        trial.set_user_attr(attr.INTERRUPTED, True)
        trial.set_user_attr(attr.REASON, str(failed))
        study.tell(trial, state=TrialState.FAIL)
    except TrialFailed as failed:
        if isinstance(failed, SettingRefused):
            trial.set_user_attr(attr.REFUSED, True)
        trial.set_user_attr(attr.REASON, str(failed))
        study.tell(trial, state=TrialState.FAIL)
    else:
        if study._storage.get_trial(trial._trial_id).state.is_finished():
            # Optuna's own word for it is a ValueError.
            raise UpdateFinishedTrialError(f"trial {trial.number} has ended.")
        study.tell(trial, value)


@contextmanager
def _ended_with_this(study: optuna.Study, trial: optuna.Trial) -> Iterator[None]:
    """Tell that a trial was interrupted if the block is left by what is no ending of the trial itself."""
    try:
        yield
    except (UpdateFinishedTrialError, optuna.TrialPruned, OutOfMemory, TrialFailed):
        raise
    except BaseException as error:
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(attr.INTERRUPTED, True)
            trial.set_user_attr(attr.REASON, _why_stopped(error))
            study.tell(trial, state=TrialState.FAIL)
        raise


def _why_stopped(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Ctrl-C or a signal ended its worker; the next start goes on with it."
    return f"stopped by {type(error).__name__}: {error}"


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials of the budget that have ended: complete, pruned, or failed with a reason of their own."""
    return _finished(study.get_trials(deepcopy=False))


def _finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return list(filter(is_finished, trials))


def _spent(trials: Sequence[FrozenTrial]) -> int:
    """Count the trials of the budget that are finished or under way."""
    return len(_finished(trials)) + sum(trial.state == TrialState.RUNNING for trial in trials)


def study_title(study: optuna.Study) -> str:
    """Name a study as a person reads it."""
    return f"{study.user_attrs.get(attr.KIND, study.study_name)} study"


def show_progress(
    study: optuna.Study, trials: Sequence[FrozenTrial], budget: int, progress: Progress, others: str = ""
) -> None:
    """Show how many trials of the budget have ended, the best one, and what is said of other workers."""
    note = ", ".join(filter(None, (best_note(study, trials), others)))
    progress(study_title(study), min(len(_finished(trials)), budget), budget, note)


def best_note(study: optuna.Study, trials: Sequence[FrozenTrial]) -> str:
    """Say in some words what the best so far is, a loss by its mean over seeds; "" before there is one."""
    by_number = {trial.number: trial for trial in trials}
    if study.user_attrs.get(attr.KIND) == "loss":
        found = [(row.mean, by_number[row.all_runs[0].number]) for row in rank_losses(trials).rows.values()]
    elif study.user_attrs.get(attr.KIND) == "cam":
        found = [(best.mean, best.runs[0])] if (best := best_maps(trials)) else []
    else:
        found = [(objective_value(first), first)] if (first := best_trial(trials)) else []
    if not found:
        return ""
    value, trial = found[0]
    called = trial.user_attrs.get(attr.NAME)
    shown = "undefined" if math.isnan(value) else f"{value:.3f}"
    return f"best {study.user_attrs[attr.METRIC]} {shown} (trial {trial.number}" + (
        f", {called})" if called else ")"
    )
