"""The table of losses, each in its best setting, averaged over equal numbers of seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from objectives.records.ranking import WEIGHTED, rank, rank_losses
from objectives.records.study import Study, Trial
from reports.style.formatting import count, ordered, parameter, score
from reports.style.palette import LOSS_COLOURS, NEUTRAL
from sonarseg.files.plain_text import plain
from sonarseg.metrics.compared_runs import ComparedRow

TABLE_METRICS = ("miou_paper", "miou", "miou_multiclass")
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
    mean : float
        Mean of the study's metric as the trials stored it: by this the losses are ranked.
    fixed : bool
        Whether the loss was fixed beforehand; its rounds may be chosen.
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
    mean: float = 0.0
    fixed: bool = True

    @property
    def colour(self) -> str:
        """Colour of the loss in every plot."""
        return LOSS_COLOURS.get(self.key, NEUTRAL)

    @property
    def setting(self) -> str:
        """The parameters in a few words."""
        return ", ".join(f"{name} {parameter(self.params[name])}" for name in ordered(self.params))

    @property
    def mean_of_all(self) -> float:
        """Mean of the study's metric over all runs of this setting."""
        return _mean([trial.value for trial in self.all_trials])

    @property
    def all_runs(self) -> str:
        """Mean and standard deviation of the metric over all runs of this setting, and their number."""
        values = [trial.value for trial in self.all_trials if trial.value is not None]
        spread = f" ± {score(statistics.stdev(values))}" if len(values) > 1 else ""
        return f"{score(self.mean_of_all)}{spread} ({count(len(self.all_trials), 'run')})"


@dataclass(frozen=True)
class LossTable:
    """Rows in the order of `LOSSES`, the runs behind every compared one, and the study's metric."""

    rows: list[LossRow]
    seeds: int
    metric: str

    def ranked(self, metric: str) -> list[LossRow]:
        """Sort the compared losses that have a mean, the best first."""
        means = {
            row.key: row.mean if metric == self.metric else mean
            for row in self.rows
            if row.compared and (mean := row.means.get(metric)) is not None
        }
        return self._by(means)

    def winner(self, metric: str) -> LossRow | None:
        """Find the compared loss of the largest mean."""
        return next(iter(self.ranked(metric)), None)

    @property
    def uneven(self) -> bool:
        """Whether a loss has runs that are left out of the means."""
        return any(len(row.all_trials) > len(row.trials) for row in self.rows)

    def winner_of_all(self) -> LossRow | None:
        """Find the compared loss of the largest mean of the study's metric over all its runs."""
        ranked = self._by({row.key: row.mean_of_all for row in self.rows if row.compared})
        return next(iter(ranked), None)

    def _by(self, means: Mapping[str, float]) -> list[LossRow]:
        rows = [row for row in self.rows if row.key in means]
        return sorted(rows, key=lambda row: rank(means[row.key], row.all_trials[0].number))


def loss_table(study: Study) -> LossTable:
    """Compare the losses by the mean over equal numbers of seeds that chose nothing.

    See `objectives.records.ranking.rank_losses`.
    """
    trials = {trial.number: trial for trial in study.complete}
    comparison = rank_losses(study.frozen)
    rows = [_row(study, key, found, trials) for key, found in comparison.rows.items()]
    order = list(LOSSES)
    rows.sort(key=lambda row: order.index(row.key) if row.key in order else 99)
    return LossTable(rows, comparison.seeds, study.metric)


def _row(study: Study, key: str, found: ComparedRow, trials: dict[int, Trial]) -> LossRow:
    runs = [trials[run.number] for run in found.runs]
    values = [run.value for run in runs if run.value is not None]
    return LossRow(
        key=key,
        label=LOSSES.get(key, plain(key)),
        params={name: value for name, value in runs[0].params.items() if name != "loss"},
        trials=runs,
        all_trials=[trials[run.number] for run in found.all_runs],
        tried=found.tried,
        means={name: mean_score(runs, name) for name in (*TABLE_METRICS, study.metric)},
        spread=statistics.stdev(values) if len(values) > 1 else None,
        compared=found.compared,
        mean=found.mean,
        fixed=found.fixed,
    )


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
