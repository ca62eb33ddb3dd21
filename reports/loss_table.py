"""The table of losses, each in its best setting, averaged over equal numbers of seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from reports.formatting import ordered, parameter, plain, score
from reports.palette import LOSS_COLOURS, NEUTRAL
from reports.study_records import Study, Trial

TABLE_METRICS = ("miou_paper", "miou", "miou_multiclass")
WEIGHTED = "class-weighted cross-entropy"
LOSSES = {
    "cross-entropy": "Cross-entropy",
    WEIGHTED: "Class-weighted cross-entropy",
    "focal": "Focal",
    "lovasz_softmax": "Lovász-Softmax",
}
# What the report's Table I and miou_paper follow
PAPER = "S. C. Nwafor, M. F. Akram, E. Hidri, Weakly Supervised Sea-floor Segmentation (University of Girona)"
# Its own Table I, on its own survey, in per cent
PUBLISHED = {"cross-entropy": "91.51", "focal": "85.06", "lovasz_softmax": "92.94"}


@dataclass(frozen=True)
class LossRow:
    """A loss in its best setting.

    Attributes
    ----------
    key, label : str
        Key of `LOSSES` and what is shown.
    params : dict
        Parameters of the setting, the loss itself left out.
    trials : list of Trial
        The runs that are averaged, one per seed.
    all_trials : list of Trial
        All completed runs of this setting.
    tried : int
        Completed settings of this loss.
    means : dict
        Mean score a metric.
    spread : float or None
        Standard deviation of the study's metric over the seeds; None for a single one.
    compared : bool
        Whether it has as many runs as the others; if not it cannot win.
    """

    key: str
    label: str
    params: dict[str, Any]
    trials: list[Trial]
    all_trials: list[Trial]
    tried: int
    means: dict[str, float | None]
    spread: float | None
    compared: bool = True

    @property
    def colour(self) -> str:
        """Colour of the loss in every plot."""
        return LOSS_COLOURS.get(self.key, NEUTRAL)

    @property
    def setting(self) -> str:
        """The parameters in a few words."""
        return ", ".join(f"{name} {parameter(self.params[name])}" for name in ordered(self.params))

    @property
    def used(self) -> str:
        """How many of the runs of this setting are averaged."""
        return f"{len(self.trials)} of {len(self.all_trials)}"

    @property
    def mean_of_all(self) -> float:
        """Mean of the study's metric over all runs of this setting."""
        return _mean([trial.value for trial in self.all_trials])

    @property
    def all_runs(self) -> str:
        """Mean and standard deviation of the study's metric over all runs of this setting."""
        values = [trial.value for trial in self.all_trials if trial.value is not None]
        spread = f" ± {score(statistics.stdev(values))}" if len(values) > 1 else ""
        return score(self.mean_of_all) + spread


@dataclass(frozen=True)
class LossTable:
    """Rows in the order of `LOSSES`, and the runs behind every compared one."""

    rows: list[LossRow]
    seeds: int

    def winner(self, metric: str) -> LossRow | None:
        """Find the compared loss of the largest mean."""
        scored = [row for row in self.rows if row.compared and row.means.get(metric) is not None]
        return max(scored, key=lambda row: row.means[metric] or 0.0, default=None)

    @property
    def uneven(self) -> bool:
        """Whether a loss has runs that are left out, so that all are means of equally many."""
        return any(len(row.all_trials) > len(row.trials) for row in self.rows)

    def winner_of_all(self) -> LossRow | None:
        """Find the compared loss of the largest mean of the study's metric over all its runs."""
        return max((row for row in self.rows if row.compared), key=lambda row: row.mean_of_all, default=None)


def loss_table(study: Study) -> LossTable:
    """Compare the losses by the mean over equal numbers of seeds.

    The number of seeds is the largest for which every loss has a setting with so many runs. Of each
    loss the setting of the largest mean over its first so many runs is shown; settings with fewer
    runs are left out, since one lucky run would win over a mean. Class-weighted cross-entropy, the
    baseline's loss, is a setting of the focal loss, and has a row of its own.
    """
    by_loss = _runs_by_loss(study)
    if not by_loss:
        return LossTable([], 0)
    seeds = min(max(len(runs) for runs in settings) for settings in by_loss.values())
    rows = []
    for key, settings in by_loss.items():
        weighted = next((runs for runs in settings if any(run.name == WEIGHTED for run in runs)), None)
        if weighted is not None:
            rows.append(_row(study, WEIGHTED, weighted, seeds, 1))
        others = [runs for runs in settings if runs is not weighted]
        enough = [runs for runs in others if len(runs) >= seeds]
        if not others:
            continue
        best = max(enough or others, key=lambda runs: _mean([run.value for run in runs[:seeds]]))
        rows.append(_row(study, key, best, seeds, len(others)))
    order = list(LOSSES)
    return LossTable(sorted(rows, key=lambda row: order.index(row.key) if row.key in order else 99), seeds)


def _row(study: Study, key: str, all_runs: list[Trial], seeds: int, tried: int) -> LossRow:
    runs = all_runs[:seeds]
    values = [run.value for run in runs if run.value is not None]
    return LossRow(
        key=key,
        label=LOSSES.get(key, key),
        params={name: value for name, value in runs[0].params.items() if name != "loss"},
        trials=runs,
        all_trials=all_runs,
        tried=tried,
        means={name: mean_score(runs, name) for name in (*TABLE_METRICS, study.metric)},
        spread=statistics.stdev(values) if len(values) > 1 else None,
        compared=len(runs) == seeds,
    )


def _runs_by_loss(study: Study) -> dict[str, list[list[Trial]]]:
    """Completed trials by loss, then by setting, in the order of their numbers."""
    by_loss: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in study.complete:
        by_loss[plain(trial.params.get("loss", ""))][trial.setting].append(trial)
    return {loss: list(settings.values()) for loss, settings in by_loss.items()}


def _mean(values: list[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def mean_score(trials: list[Trial], name: str) -> float | None:
    """Mean score of runs; None where one of them has none."""
    values = [trial.scores.get(name) for trial in trials]
    return None if any(value is None for value in values) else _mean(values)


def class_means(trials: list[Trial]) -> dict[str, float | None]:
    """Mean IoU of each class over runs; None where a run has none."""
    found = {name: [trial.iou.get(name) for trial in trials] for name in trials[0].iou}
    return {name: None if None in values else _mean(values) for name, values in found.items()}
