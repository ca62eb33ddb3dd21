"""Ending hopeless runs early, fairly."""

from __future__ import annotations

from statistics import median

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr

# User attributes of trials that are run to their end whatever they look like on the way.
PROTECTED = (attr.ENQUEUED, attr.REPETITION)


class SameLossMedianPruner(BasePruner):
    """Prune a run that lies below the median of finished runs of the same loss at the same epoch.

    Losses differ in how fast they start, so runs of different losses are never compared. Baselines
    (enqueued trials) and repetitions with another seed are never pruned: a pruned baseline is no
    baseline, and a mean over the seeds that went well is no mean.

    Parameters
    ----------
    first_step : int
        No pruning before this epoch: the first one trained on the second round's pseudo-labels.
    n_startup : int
        Finished trials of the same loss that must have reached the epoch.
    """

    def __init__(self, first_step: int, n_startup: int = 2) -> None:
        self.first_step = first_step
        self.n_startup = n_startup

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should end now (values are better the higher they are)."""
        step = trial.last_step
        if step is None or step < self.first_step or any(trial.user_attrs.get(name) for name in PROTECTED):
            return False
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if other.params.get("loss") == trial.params["loss"] and step in other.intermediate_values
        ]
        return len(others) >= self.n_startup and trial.intermediate_values[step] < median(others)
