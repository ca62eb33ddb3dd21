"""The quality of a trial: its first value, whatever else a study weighs it against."""

from __future__ import annotations

from optuna.trial import FrozenTrial


def objective_value(trial: FrozenTrial) -> float:
    """Score of a completed trial, higher is better."""
    return float(trial.values[0])
