"""The loss study: Table I and the training curves of every loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reports.class_figure import ClassScores, class_figure
from reports.curves import Curve, mean_curve, read_curve
from reports.database import Study
from reports.figures import Figure, padded
from reports.loss_figures import comparison_figure, loss_figure, miou_figure
from reports.loss_table import LossRow, class_means, loss_rows

COMPARED = ("miou_multiclass", "miou")
_SYMBOLS = ("circle-open", "square", "diamond", "circle", "triangle-up")


@dataclass(frozen=True)
class LossCurves:
    """The two figures of one loss."""

    row: LossRow
    figures: list[Figure]


@dataclass(frozen=True)
class LossSection:
    """What the page shows of the loss study.

    Attributes
    ----------
    study : Study
    rows : list of LossRow
        Table I.
    seeds : int
        Runs that every row is averaged over.
    curves : list of LossCurves
        As far as the runs left curves.
    comparison : list of Figure
        All losses in one plot: mIoU over the epochs, IoU of each class.
    notes : list of str
        What is missing and why.
    """

    study: Study
    rows: list[LossRow]
    seeds: int
    curves: list[LossCurves]
    comparison: list[Figure]
    notes: list[str]

    def winner(self, metric: str) -> LossRow | None:
        """Find the loss of the largest mean."""
        scored = [row for row in self.rows if row.means.get(metric) is not None]
        return max(scored, key=lambda row: row.means[metric] or 0.0, default=None)


def loss_section(study: Study, workspace: Path) -> LossSection:
    """Prepare the section from the study and the runs' metrics."""
    rows, seeds = loss_rows(study)
    drawn: list[tuple[LossRow, list[Curve], Curve]] = []
    notes: list[str] = []
    for row in rows:
        found = [read_curve(workspace, trial, study.metric) for trial in row.trials]
        runs = [curve for curve in found if curve is not None]
        if not runs:
            notes.append(f"{row.label}: its runs left no metrics.jsonl, so there is no curve to draw.")
            continue
        mean = mean_curve(runs)
        drawn.append((row, runs, mean))
    scale = _common_scale([run for _, runs, _ in drawn for run in runs])
    curves = [
        LossCurves(row, [loss_figure(row, mean), miou_figure(row, runs, mean, scale)])
        for row, runs, mean in drawn
    ]
    means = [(row, mean) for row, _, mean in drawn]
    comparison = [comparison_figure(means, name, scale) for name in COMPARED] if means else []
    comparison += _class_figures(rows)
    return LossSection(study, rows, seeds, curves, comparison, notes)


def _common_scale(runs: list[Curve]) -> list[float]:
    """Find one range of mIoU for all plots, so that heights can be compared between them."""
    reached = [value for run in runs for name in COMPARED for value in run.values[name] if value is not None]
    return padded(reached or [0.0, 1.0])


def _class_figures(rows: list[LossRow]) -> list[Figure]:
    series = [
        ClassScores(row.label, row.colour, _SYMBOLS[place % len(_SYMBOLS)], class_means(row.trials))
        for place, row in enumerate(rows)
        if all(trial.iou for trial in row.trials)
    ]
    caption = "Last epoch on val, mean over the seeds of Table I."
    return [class_figure("loss-classes", series, caption, wide=True)] if series else []
