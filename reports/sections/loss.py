"""The loss study: Table I and the training curves of every loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from objectives.records import attributes as attr
from objectives.records.study import Study
from reports.figures.base import Figure, padded
from reports.figures.classes import ClassScores, class_figure
from reports.figures.confusion import ConfusionTable, confusion_table
from reports.figures.focal_map import focal_figure
from reports.figures.intervals import Differences, interval_figure
from reports.figures.loss_curves import comparison_figure, loss_figure, miou_figure
from reports.figures.rounds import rounds_figure
from reports.figures.tiles import TileScores, tile_scores, tiles_figure
from reports.findings.epochs import FINAL, Curve, mean_curve, read_run, read_trial
from reports.findings.loss_gains import LossGains, agreement, loss_gains
from reports.findings.loss_table import LOSSES, TABLE_METRICS, LossRow, LossTable, class_means, loss_table
from reports.style.palette import ACCENT, NEUTRAL, WARNING
from sonarseg.files.plain_text import plain

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
    table : LossTable
        Table I.
    curves : list of LossCurves
        As far as the runs left curves; where nothing could be tuned, those of the one plain run.
    comparison : list of Figure
        All losses in one plot: mIoU over the epochs, IoU of each class and tile, the map of focal.
    gains : LossGains or None
        Differences from cross-entropy with their intervals.
    gain_figure : Figure or None
        The same, drawn.
    agreement : str or None
        Whether the metrics agree on the winner.
    confusions : list of ConfusionTable
        One a compared loss.
    notes : list of str
        What is missing and why.
    """

    study: Study
    table: LossTable
    curves: list[LossCurves]
    comparison: list[Figure]
    notes: list[str]
    gains: LossGains | None = None
    gain_figure: Figure | None = None
    agreement: str | None = None
    confusions: tuple[ConfusionTable, ...] = ()


def loss_section(study: Study, workspace: Path) -> LossSection:
    """Prepare the section from the study and the runs' metrics."""
    table = loss_table(study)
    if study.untuned and not table.rows:
        return LossSection(study, table, _plain_run(workspace), [], [])
    drawn: list[tuple[LossRow, list[Curve], Curve]] = []
    notes: list[str] = []
    for row in table.rows:
        found = [read_trial(workspace, trial, study.metric) for trial in row.trials]
        runs = [curve for curve in found if curve is not None]
        if runs:
            drawn.append((row, runs, mean_curve(runs)))
        else:
            notes.append(f"{row.label}: its runs left no metrics.jsonl, so there is no curve to draw.")
    scale = _common_scale([run for _, runs, _ in drawn for run in runs])
    curves = [
        LossCurves(row, [loss_figure(row, mean), miou_figure(row, runs, mean, scale)])
        for row, runs, mean in drawn
    ]
    means = [(row, mean) for row, _, mean in drawn]
    comparison = [comparison_figure(means, name, scale) for name in COMPARED] if means else []
    focal = focal_figure(study)
    by_rounds = rounds_figure(study, table.rows)
    comparison += [] if by_rounds is None else [by_rounds]
    comparison += _class_figures(table.rows) + _tiles_figures(study, table.rows)
    comparison += [] if focal is None else [focal]
    gains = loss_gains(study, table)
    return LossSection(
        study,
        table,
        curves,
        comparison,
        notes,
        gains=gains,
        gain_figure=_gain_figure(table, gains),
        agreement=agreement(study, table),
        confusions=_confusions(study, table.rows),
    )


def _plain_run(workspace: Path) -> list[LossCurves]:
    """Losses of the one run that is trained where nothing can be scored; it has no mIoU."""
    curve = read_run(workspace, FINAL)
    if curve is None:
        return []
    row = LossRow("cross-entropy", LOSSES["cross-entropy"], {}, [], [], 0, {}, None, compared=False)
    return [LossCurves(row, [loss_figure(row, curve)])]


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
    return [class_figure("loss-classes", series, caption)] if series else []


def _tiles_figures(study: Study, rows: list[LossRow]) -> list[Figure]:
    """Spread over the tiles of the first run of every loss: a mean over seeds would hide it."""
    series = [
        TileScores(row.label, row.colour, tile_scores(confusions))
        for row in rows
        if (confusions := row.trials[0].confusions) is not None and len(confusions)
    ]
    tiles = [plain(tile) for tile in study.attrs.get(attr.TILES) or []]
    return [tiles_figure("loss-tiles", series, tiles)] if series else []


def _gain_figure(table: LossTable, gains: LossGains | None) -> Figure | None:
    if gains is None:
        return None
    looks = zip(TABLE_METRICS, (NEUTRAL, WARNING, ACCENT), ("square", "diamond", "circle"), strict=True)
    series = []
    for metric, colour, symbol in looks:
        known = [(row.label, gains.of(row, metric)) for row in table.rows]
        found = [(label, gain) for label, gain in known if gain is not None and gain.known]
        if found:
            series.append(Differences(metric, colour, symbol, found))
    if not series:
        return None
    return interval_figure(
        "loss-gains",
        series,
        "Gain over cross-entropy",
        "difference, 95 % interval",
        f"If a line crosses zero, the difference may be chance. Intervals: {gains.covers}; runs are paired "
        "by seed.",
        wide=True,
    )


def _confusions(study: Study, rows: list[LossRow]) -> tuple[ConfusionTable, ...]:
    found = []
    for row in rows:
        runs = [trial.confusions for trial in row.trials if trial.confusions is not None]
        found.append(confusion_table(row.label, row.colour, study.classes, runs))
    return tuple(table for table in found if table is not None)
