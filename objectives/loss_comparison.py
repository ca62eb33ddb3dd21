"""Comparing losses by the mean over equal numbers of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from objectives.search_space import LOSSES


@dataclass(frozen=True)
class SettingRuns:
    """The finished runs of one setting, in the order of their trials.

    Attributes
    ----------
    setting : str
        Canonical text of the loss and its parameters.
    trials : tuple of FrozenTrial
        Complete trials, each with another seed.
    """

    setting: str
    trials: tuple[FrozenTrial, ...]

    @property
    def loss(self) -> str:
        """The loss, whatever its parameters."""
        return str(self.trials[0].params["loss"])

    def mean(self, seeds: int) -> float:
        """Mean value of the first `seeds` runs."""
        return fmean(float(trial.value or 0.0) for trial in self.trials[:seeds])


@dataclass(frozen=True)
class LossComparison:
    """The best setting of every loss, each judged by the same number of runs.

    Attributes
    ----------
    seeds : int
        Runs behind every mean.
    best : dict
        The best setting of each loss that has a complete trial, best loss first.
    """

    seeds: int
    best: dict[str, SettingRuns]

    def means(self) -> dict[str, float]:
        """Mean value of the best setting of each loss, best first."""
        return {loss: runs.mean(self.seeds) for loss, runs in self.best.items()}


def runs_by_setting(trials: Sequence[FrozenTrial]) -> dict[str, SettingRuns]:
    """Group the complete trials of a loss study by setting."""
    grouped: dict[str, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.state == TrialState.COMPLETE:
            grouped.setdefault(trial.user_attrs["setting"], []).append(trial)
    return {setting: SettingRuns(setting, tuple(runs)) for setting, runs in grouped.items()}


def first_choices(trials: Sequence[FrozenTrial]) -> dict[str, SettingRuns]:
    """Choose of each loss the setting whose first run was the best one: these get more seeds.

    Only first runs are looked at, so the choice does not move while the repetitions come in.
    """
    return _best(runs_by_setting(trials), seeds=1)


def compare_losses(trials: Sequence[FrozenTrial]) -> LossComparison:
    """Compare losses by the mean over equal numbers of seeds.

    The number is the largest for which every loss has a setting with so many runs. A setting with
    fewer runs is left out: one lucky run would win over a mean.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Trials of a loss study in any state.
    """
    settings = runs_by_setting(trials)
    most: dict[str, int] = {}
    for runs in settings.values():
        most[runs.loss] = max(most.get(runs.loss, 0), len(runs.trials))
    seeds = min(most.values(), default=0)
    best = _best(settings, seeds)
    ranked = sorted(best.items(), key=lambda item: -item[1].mean(seeds))
    return LossComparison(seeds, dict(ranked))


def _best(settings: dict[str, SettingRuns], seeds: int) -> dict[str, SettingRuns]:
    best: dict[str, SettingRuns] = {}
    for loss in LOSSES:
        runs = [r for r in settings.values() if r.loss == loss and len(r.trials) >= max(1, seeds)]
        if runs:
            best[loss] = max(runs, key=lambda r: r.mean(seeds))
    return best
