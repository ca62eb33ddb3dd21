"""What a trial is: named, searched, derived, interrupted, inherited, in the budget; and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr

# How a setting was proposed: without looking at scores, or near those that did well
RANDOM, ADAPTIVE = "random", "adaptive"
# Optuna's own attribute of an enqueued trial: the values that it has to take
FIXED_PARAMS = "fixed_params"
# Parameter of the loss study: rounds of self-training; 0 is the classification branch alone
ROUNDS = "rounds"


def objective_value(trial: FrozenTrial) -> float:
    """The value that a completed trial is ranked by: its first one, whatever else a study weighs."""
    return float(trial.values[0])


def is_named(trial: FrozenTrial) -> bool:
    """Whether it is an untuned setting that every study tries."""
    return bool(trial.user_attrs.get(attr.NAME))


def is_drawn_at_random(trial: FrozenTrial) -> bool:
    """Whether its setting was proposed without looking at the scores of other trials."""
    return trial.user_attrs.get(attr.PROPOSAL) == RANDOM


def is_searched(trial: FrozenTrial) -> bool:
    """Whether the search proposed the trial's setting, noted or, in older studies, not noted."""
    if is_derived(trial):
        return False
    if attr.PROPOSAL in trial.user_attrs:
        return True
    return not trial.system_attrs.get(FIXED_PARAMS) and attr.ORIGIN not in trial.user_attrs


def is_derived(trial: FrozenTrial) -> bool:
    """Whether it was read off the run of another trial, or finishes one that a race had stopped."""
    return trial.user_attrs.get(attr.DERIVED) is not None


def is_branch_alone(params: Mapping[str, Any]) -> bool:
    """Whether a loss trial is what the classification branch says before the first round: it cannot win."""
    return params.get(ROUNDS) == 0


def without_rounds(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a loss: the others of a loss trial."""
    return {name: value for name, value in params.items() if name != ROUNDS}


def run_of_rounds(run: str, rounds: int) -> str:
    """Name the run folder of the first rounds of a run: a run of its own, trained if it is needed."""
    return f"{run}-rounds-{rounds}"


def read_off_run(run: str, params: Mapping[str, Any]) -> str:
    """Name the run folder that a trial of its first rounds was read off: undoes `run_of_rounds`."""
    return run.removesuffix(f"-rounds-{params.get(ROUNDS)}")


def finishes_race(trial: FrozenTrial) -> bool:
    """Whether it is the trial that it is derived from, scored on all tiles."""
    return bool(trial.user_attrs.get(attr.FINISHED_RACE))


def is_inherited(trial: FrozenTrial) -> bool:
    """Whether it was taken over complete from another study, so that nothing ran here."""
    origin = trial.user_attrs.get(attr.ORIGIN)
    return isinstance(origin, dict) and bool(origin.get("complete"))


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether it ended without an end of its own: by Ctrl-C, or its program died; it is run again."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get(attr.INTERRUPTED))


def in_budget(trial: FrozenTrial) -> bool:
    """Whether it is one of those that the budget counts, once it has begun."""
    return not (is_interrupted(trial) or is_derived(trial) or is_inherited(trial))


def is_finished(trial: FrozenTrial) -> bool:
    """Whether it is one of the budget and has ended: complete, pruned, or failed with a reason of its own."""
    return trial.state.is_finished() and in_budget(trial)
