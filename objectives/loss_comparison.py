"""Comparing losses by the mean over equal numbers of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.space import LOSSES, WEIGHTED
from sonarseg.metrics.compared_runs import Run, compare_rows


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

    @property
    def first_value(self) -> float:
        """Value of the first run."""
        return float(self.trials[0].value or 0.0)


@dataclass(frozen=True)
class LossComparison:
    """The chosen setting of every loss, each judged by runs of the same seeds.

    Attributes
    ----------
    seeds : int
        Runs behind every mean.
    best : dict
        The chosen setting of each loss that has a complete trial, best mean first; class-weighted
        cross-entropy is a loss of its own. Settings with fewer runs than the others come last.
    means : dict
        Mean value of each.
    """

    seeds: int
    best: dict[str, SettingRuns]
    means: dict[str, float]


def runs_by_setting(trials: Sequence[FrozenTrial]) -> dict[str, SettingRuns]:
    """Group the complete trials of a loss study by setting."""
    grouped: dict[str, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.state == TrialState.COMPLETE:
            grouped.setdefault(trial.user_attrs[attr.SETTING], []).append(trial)
    return {setting: SettingRuns(setting, tuple(runs)) for setting, runs in grouped.items()}


def first_choices(trials: Sequence[FrozenTrial]) -> dict[str, SettingRuns]:
    """Choose of each loss the setting whose first run was the best one: these get more seeds.

    Only first runs are looked at, so the choice does not move while the repetitions come in.
    """
    settings = runs_by_setting(trials).values()
    best: dict[str, SettingRuns] = {}
    for loss in LOSSES:
        runs = [runs for runs in settings if runs.loss == loss]
        if runs:
            best[loss] = max(runs, key=lambda each: each.first_value)
    return best


def compare_losses(trials: Sequence[FrozenTrial]) -> LossComparison:
    """Compare losses by the mean over equal numbers of seeds that chose nothing.

    See `sonarseg.metrics.compared_runs.compare_rows`.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Trials of a loss study in any state.
    """
    settings = runs_by_setting(trials)
    weighted = {
        setting
        for setting, runs in settings.items()
        if any(trial.user_attrs.get(attr.NAME) == WEIGHTED for trial in runs.trials)
    }
    comparison = compare_rows(
        [
            Run(
                trial.number,
                runs.loss,
                WEIGHTED if setting in weighted else runs.loss,
                setting,
                trial.user_attrs.get(attr.SEED),
                float(trial.value or 0.0),
            )
            for setting, runs in settings.items()
            for trial in runs.trials
        ]
    )
    ranked = sorted(comparison.rows.items(), key=lambda item: (not item[1].compared, -item[1].mean))
    return LossComparison(
        comparison.seeds,
        {row: settings[found.all_runs[0].setting] for row, found in ranked},
        {row: found.mean for row, found in ranked},
    )
