"""The earlier rounds of the loss study's runs become trials of their own, which cost nothing.

A run whose rounds restart is to the bit the beginning of one of more rounds, so what it was worth at the
end of each round is what a run of so many rounds is worth. Such trials are derived: no part of the budget.
Round 0, the classification branch alone, is the same for all losses; it is one trial, which cannot win.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.records import attributes as attr
from objectives.records.trial import ROUNDS, is_branch_alone, is_derived, run_of_rounds
from studies.config import StudyConfig
from studies.trials.ask_lock import ask_lock
from studies.trials.loop import TrialCallbacks
from studies.workspace import Workspace

# What a derived trial shares with its source
_SHARED = (attr.SEED, attr.BATCH_SIZE, attr.FREQUENCIES, attr.DEVICE)


def searched_rounds(study: optuna.Study, config: StudyConfig) -> int | None:
    """Rounds of a run if they are a parameter of the study, else None; noted in a study that begins.

    A study that was begun without them goes on without them. Call it under the ask lock.
    """
    noted = study.user_attrs.get(attr.SEARCHED_ROUNDS)
    # Settings of another study that are to be tried here may be waiting.
    begun = any(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    if noted is None and config.training.restart_each_round and not begun:
        noted = config.training.rounds
        study.set_user_attr(attr.SEARCHED_ROUNDS, noted)
    return noted


def add_earlier_rounds(study: optuna.Study) -> list[FrozenTrial]:
    """Add a completed trial for every earlier round of a complete one, and one for round 0 of the study.

    Calling it again adds nothing twice.

    Returns
    -------
    list of FrozenTrial
        The trials that were added.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    known = {trial.number for trial in trials}
    done = {(trial.user_attrs.get(attr.DERIVED), trial.params.get(ROUNDS)) for trial in trials}
    branch_scored = any(is_branch_alone(trial.params) for trial in trials)
    for trial in trials:
        for found in trial.user_attrs.get(attr.EARLIER_ROUNDS, []):
            rounds = found["round"]
            if (trial.number, rounds) in done or (rounds == 0 and branch_scored):
                continue
            branch_scored |= rounds == 0
            study.add_trial(_derived(trial, rounds, found))
    return [t for t in study.get_trials(deepcopy=False) if t.number not in known and is_derived(t)]


def _derived(trial: FrozenTrial, rounds: int, found: dict[str, Any]) -> FrozenTrial:
    attrs = trial.user_attrs
    setting = f"{attrs[attr.SETTING]} rounds={rounds}" if rounds else "the classification branch alone"
    shared = {name: attrs[name] for name in _SHARED if name in attrs}
    return create_trial(
        state=TrialState.COMPLETE,
        value=found["value"],
        params={**trial.params, ROUNDS: rounds},
        distributions={**trial.distributions, ROUNDS: IntDistribution(0, trial.params[ROUNDS])},
        user_attrs={
            **shared,
            attr.DERIVED: trial.number,
            attr.SETTING: setting,
            attr.RUN: run_of_rounds(attrs[attr.RUN], rounds),
            attr.SCORES: found["metrics"],
            attr.CONFUSIONS: found["confusions"],
            attr.SECONDS: 0.0,
        },
    )


def add_and_tell(
    workspace: Workspace, callbacks: TrialCallbacks, study: optuna.Study, ended: FrozenTrial
) -> None:
    """Add what `add_earlier_rounds` adds and tell of it, locked, so that no two workers add the same."""
    with ask_lock(study, workspace):
        added = add_earlier_rounds(study)
    for trial in added:
        callbacks.on_ended(study, trial)
