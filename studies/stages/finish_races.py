"""At the end of a crf study: score stopped settings on their remaining tiles if they could still be the best.

Each becomes a completed trial of its own, outside the budget. A worker claims one at a time under the ask
lock, so none is scored twice, and what was under way when a worker ended is begun again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.outcome import TrialFailed
from objectives.records import attributes as attr
from objectives.records.trial import RANDOM, finishes_race
from objectives.widening import widened
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import METRICS, survey_scores
from sonarseg.processes.identity import is_alive, is_of_this_machine
from studies.stages.race_remainder import Candidate, Remainder, note_plan, tell_remainder
from studies.trials.ask_lock import ask_lock
from studies.trials.heartbeat import is_shared, worker_identity
from studies.trials.loop import TrialCallbacks
from studies.trials.stopping import StopRules
from studies.workspace import Workspace

_LOOK_SECONDS = 1.0
# A worker of another machine that has held a claim for so much longer than expected is taken for dead.
_PATIENCE = 10.0
_LEAST_PATIENCE = 600.0


class Scorer(Protocol):
    """What scores a setting on some tiles: `objectives.crf.CrfObjective`."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names."""

    def confusions_of(self, parameters: CrfParameters, tiles: Sequence[int]) -> NDArray[np.int64]:
        """Confusion matrices (N, K, K) of N tiles."""


def finish_races(
    study: optuna.Study,
    objective: Scorer,
    workspace: Workspace,
    *,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> None:
    """Score stopped settings on their remaining tiles, one after the other, until none is left to be scored.

    Settings that could still be the best come in the order of their chance, until the next one would exceed
    a quarter of the time that the study's trials took. None is begun if the hours of the stop rules are over.

    Parameters
    ----------
    study : optuna.Study
        The crf study, of which no trial runs any more.
    objective : Scorer
    workspace : Workspace
    stop : StopRules
    callbacks : TrialCallbacks
        Whom to tell.

    Raises
    ------
    UserError
        If the workspace cannot be written to.
    KeyboardInterrupt
        After Ctrl-C; the setting under way is scored at the next start.
    """
    remainder = Remainder(study)
    while True:
        with ask_lock(study, workspace, callbacks.progress):
            plan = remainder.plan()
            open_ = [each for each in plan.candidates if not _failed(study, each)]
            free = [each for each in open_ if not _is_held(study, each)]
            late = stop.out_of_time()
            note_plan(study, plan, late=late)
            tell_remainder(study, callbacks.progress)
            if not open_ or late:
                return
            if free:
                _claim(study, free[0])
        if not free:
            # Should the worker that holds the last one die, this one goes on with it.
            time.sleep(_LOOK_SECONDS)
            continue
        added = _finish(study, objective, workspace, free[0])
        if added is not None:
            callbacks.on_ended(study, added)


def has_unfinished(study: optuna.Study) -> bool:
    """Whether a stopped trial is left to be scored on its remaining tiles."""
    return any(not _failed(study, each) for each in Remainder(study).plan().candidates)


def _claims(study: optuna.Study) -> dict[str, Any]:
    return dict(study.user_attrs.get(attr.RACE_CLAIMS) or {})


def _failed(study: optuna.Study, candidate: Candidate) -> bool:
    return "failed" in _claims(study).get(str(candidate.trial.number), {})


def _claim(study: optuna.Study, candidate: Candidate) -> None:
    claim = {"worker": worker_identity(), "since": time.time()}
    study.set_user_attr(attr.RACE_CLAIMS, {**_claims(study), str(candidate.trial.number): claim})


def _is_held(study: optuna.Study, candidate: Candidate) -> bool:
    """Whether another worker scores a candidate now."""
    claim: Mapping[str, Any] = _claims(study).get(str(candidate.trial.number), {})
    worker = claim.get("worker")
    if worker is None or worker == worker_identity():
        return False
    if is_of_this_machine(worker):
        return is_alive(worker)
    patience = max(_LEAST_PATIENCE, _PATIENCE * candidate.seconds)
    return is_shared(study._storage) and time.time() - claim["since"] < patience


def _finish(
    study: optuna.Study, objective: Scorer, workspace: Workspace, candidate: Candidate
) -> FrozenTrial | None:
    """Score a stopped trial's remaining tiles and add the completed trial; None if it was not added."""
    started = time.monotonic()
    trial = candidate.trial
    rest = np.flatnonzero(~candidate.stopped.scored)
    confusions = candidate.stopped.confusions.copy()
    try:
        confusions[rest] = objective.confusions_of(CrfParameters.model_validate(trial.params), rest.tolist())
    except TrialFailed as failed:
        with ask_lock(study, workspace):
            claims = {**_claims(study), str(trial.number): {"failed": str(failed)}}
            study.set_user_attr(attr.RACE_CLAIMS, claims)
        return None
    attributes = {
        attr.DERIVED: trial.number,
        attr.FINISHED_RACE: True,
        attr.PROPOSAL: RANDOM,
        "metrics": dict(survey_scores(confusions, objective.classes)),
        "confusions": pack_confusions(confusions),
        "worker": worker_identity(),
        "seconds": round(time.monotonic() - started, 3),
    }
    return _add(study, workspace, trial, METRICS[study.user_attrs[attr.METRIC]](confusions), attributes)


def _add(
    study: optuna.Study,
    workspace: Workspace,
    trial: FrozenTrial,
    value: float | None,
    attributes: dict[str, Any],
) -> FrozenTrial | None:
    with ask_lock(study, workspace):
        if _finished_as(study, trial) is not None:
            return None
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=value,
                params=trial.params,
                distributions=widened(trial.distributions, trial.params),
                user_attrs=attributes,
            )
        )
        return _finished_as(study, trial)


def _finished_as(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial | None:
    """Find the trial that a stopped one has become."""
    for other in study.get_trials(deepcopy=False):
        if finishes_race(other) and other.user_attrs[attr.DERIVED] == trial.number:
            return other
    return None
