"""Who won the cam study: the best mean among the settings whose first runs were best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.ranking import rank
from objectives.records.trial import objective_value

# Settings that get more seeds
FINALISTS = 5


@dataclass(frozen=True)
class BestMaps:
    """The winning setting.

    Attributes
    ----------
    runs : tuple of FrozenTrial
        Its runs that are compared, as many as each other finalist has, the first one first.
    """

    runs: tuple[FrozenTrial, ...]

    @property
    def mean(self) -> float:
        """Mean value of the runs."""
        return sum(map(objective_value, self.runs)) / len(self.runs)

    @property
    def median(self) -> FrozenTrial:
        """The run whose maps go on: not the luckiest; of an even number of runs the lower middle one."""
        ordered = sorted(self.runs, key=lambda trial: (objective_value(trial), -trial.number))
        return ordered[(len(ordered) - 1) // 2]


def finalists(trials: Iterable[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Choose the settings whose first runs were best, and give the complete runs of each.

    Only first runs are looked at, so the choice does not move while the repetitions come in.
    """
    settings: dict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state == TrialState.COMPLETE:
            settings[str(trial.user_attrs.get(attr.SETTING))].append(trial)
    ranked = sorted(settings.values(), key=lambda runs: rank(objective_value(runs[0]), runs[0].number))
    return ranked[:FINALISTS]


def best_maps(trials: Iterable[FrozenTrial]) -> BestMaps | None:
    """Find the finalist of the highest mean over equally many runs; None if no trial is complete."""
    found = finalists(trials)
    runs = min((len(each) for each in found), default=0)
    means = [BestMaps(tuple(each[:runs])) for each in found]
    return min(means, key=lambda best: rank(best.mean, best.runs[0].number), default=None)
