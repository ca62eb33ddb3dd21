"""The loss study: Table I, training curves a loss (the paper's Figs 3 to 10), comparison."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.curves import Curve, mean_curve, read_curve
from reports.database import Study, Trial
from reports.figures import Figure, axis, figure_text, hover, layout, line, points, value_axis
from reports.formatting import count, parameter, score
from reports.palette import LOSS_COLOURS, NEUTRAL

TABLE_METRICS = ("miou_paper", "miou", "miou_multiclass")
WEIGHTED = "class-weighted cross-entropy"
LOSSES = {
    "cross-entropy": "Cross-entropy",
    WEIGHTED: "Class-weighted cross-entropy",
    "focal": "Focal",
    "lovasz_softmax": "Lovász-Softmax",
}
# The paper's own Table I, on its own survey, in per cent
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
        The runs that are averaged, one a seed.
    runs : int
        Completed runs of this setting, those beyond the equal number included.
    tried : int
        Completed settings of this loss.
    means : dict
        Mean score a metric.
    spread : float or None
        Standard deviation of the study's metric over the seeds; None for a single one.
    """

    key: str
    label: str
    params: dict[str, Any]
    trials: list[Trial]
    runs: int
    tried: int
    means: dict[str, float | None]
    spread: float | None

    @property
    def colour(self) -> str:
        """Colour of the loss in every plot."""
        return LOSS_COLOURS.get(self.key, NEUTRAL)

    @property
    def setting(self) -> str:
        """The parameters in a few words."""
        return ", ".join(f"{name} {parameter(value)}" for name, value in self.params.items())


@dataclass(frozen=True)
class LossCurves:
    """The two figures of one loss."""

    row: LossRow
    figures: list[Figure]


@dataclass(frozen=True)
class LossSection:
    """What the page shows of the loss study."""

    study: Study
    rows: list[LossRow]
    seeds: int
    curves: list[LossCurves]
    comparison: list[Figure]
    notes: list[str]

    def winner(self, metric: str) -> LossRow | None:
        """The loss of the largest mean."""
        scored = [row for row in self.rows if row.means.get(metric) is not None]
        return max(scored, key=lambda row: row.means[metric] or 0.0, default=None)


def loss_section(study: Study, workspace: Path) -> LossSection:
    """Prepare the section from the study and the runs' metrics."""
    rows, seeds = loss_rows(study)
    curves: list[LossCurves] = []
    means: list[tuple[LossRow, Curve]] = []
    notes: list[str] = []
    for row in rows:
        found = [read_curve(workspace, trial, study.metric) for trial in row.trials]
        runs = [curve for curve in found if curve is not None]
        if not runs:
            notes.append(f"{row.label}: its runs left no metrics.jsonl, so there is no curve to draw.")
            continue
        mean = mean_curve(runs)
        means.append((row, mean))
        curves.append(LossCurves(row, [_loss_figure(row, runs, mean), _miou_figure(row, runs, mean)]))
    comparison = [_comparison(means, metric) for metric in ("miou_multiclass", "miou")] if means else []
    if any(row.trials[0].iou for row in rows):
        comparison.append(_class_figure(rows))
    return LossSection(study, rows, seeds, curves, comparison, notes)


def loss_rows(study: Study) -> tuple[list[LossRow], int]:
    """The best setting of every loss, and the number of seeds that all are averaged over.

    A setting that got more runs is preferred (the study gives further seeds to the best setting of a
    loss), then the larger mean. The number of seeds is that of the loss with the fewest; seeds that
    all losses share are taken first, so that the comparison is paired.
    """
    chosen: dict[str, tuple[list[Trial], int]] = {}
    for key, settings in _runs_by_loss(study).items():
        ranked = sorted(settings, key=lambda runs: (-len(runs), -_mean([r.value for r in runs]), runs[0].number))
        chosen[key] = (ranked[0], len(settings))
    if not chosen:
        return [], 0
    seeds = min(len(runs) for runs, _ in chosen.values())
    shared = set.intersection(*({run.seed for run in runs} for runs, _ in chosen.values()))
    rows = []
    for key in sorted(chosen, key=lambda key: list(LOSSES).index(key) if key in LOSSES else len(LOSSES)):
        runs, tried = chosen[key]
        used = sorted(runs, key=lambda run: (run.seed not in shared, run.number))[:seeds]
        values = [run.value for run in used if run.value is not None]
        rows.append(
            LossRow(
                key=key,
                label=LOSSES.get(key, key),
                params={name: value for name, value in used[0].params.items() if name != "loss"},
                trials=used,
                runs=len(runs),
                tried=tried,
                means={name: _mean_score(used, name) for name in {*TABLE_METRICS, study.metric}},
                spread=statistics.stdev(values) if len(values) > 1 else None,
            )
        )
    return rows, seeds


def _runs_by_loss(study: Study) -> dict[str, list[list[Trial]]]:
    """Completed trials by loss, then by setting; of one seed that ran twice the later trial."""
    weighted = {trial.setting for trial in study.complete if trial.name == WEIGHTED}
    by_loss: dict[str, dict[str, dict[int | None, Trial]]] = defaultdict(lambda: defaultdict(dict))
    for trial in study.complete:
        key = WEIGHTED if trial.setting in weighted else str(trial.params.get("loss", ""))
        by_loss[key][trial.setting][trial.seed] = trial
    return {key: [list(runs.values()) for runs in settings.values()] for key, settings in by_loss.items()}


def _mean(values: list[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def _mean_score(trials: list[Trial], name: str) -> float | None:
    values = [trial.scores.get(name) for trial in trials]
    return None if any(value is None for value in values) else _mean(values)


def _bands(curve: Curve) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shade the warm-up and mark where new pseudo-labels are made."""
    shapes: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    if curve.warm_up_end:
        first = min(curve.epochs)
        end = curve.warm_up_end + 0.5
        shapes.append(
            {
                "type": "rect",
                "yref": "paper",
                "x0": first - 0.5,
                "x1": end,
                "y0": 0,
                "y1": 1,
                "line": {"width": 0},
                "fillcolor": "rgba(125,138,148,0.12)",
                "layer": "below",
            }
        )
        label = {"x": (first - 0.5 + end) / 2, "y": 1, "yref": "paper", "yanchor": "bottom", "text": "warm-up"}
        labels.append({**label, "showarrow": False, "font": {"size": 11}})
    for start in curve.round_starts:
        shapes.append(
            {
                "type": "line",
                "yref": "paper",
                "x0": start - 0.5,
                "x1": start - 0.5,
                "y0": 0,
                "y1": 1,
                "line": {"width": 1, "dash": "dot", "color": "rgba(125,138,148,0.6)"},
                "layer": "below",
            }
        )
    return shapes, labels


def _loss_figure(row: LossRow, runs: list[Curve], mean: Curve) -> Figure:
    data = []
    for measure, name, colour, axis_name in (
        ("loss_segmentation", "segmentation", row.colour, "y"),
        ("loss_classification", "classification", NEUTRAL, "y2"),
    ):
        for prefix, part, dash in (("", "train", "dot"), ("val_", "val", "solid")):
            values = mean.values[prefix + measure]
            if any(value is not None for value in values):
                data.append(line(mean.epochs, values, f"{name}, {part}", colour, dash=dash, yaxis=axis_name))
    shapes, labels = _bands(mean)
    return Figure(
        f"loss-{_slug(row.key)}-losses",
        data,
        layout(
            xaxis=axis("epoch", anchor="y2"),
            yaxis=value_axis("segmentation", domain=[0.54, 1], rangemode="tozero", nticks=4),
            yaxis2=value_axis("classification", domain=[0, 0.46], rangemode="tozero", nticks=4),
            shapes=shapes,
            annotations=labels,
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        "Losses",
        "",
        f"Segmentation and classification loss of {row.label} over {count(len(mean.epochs), 'epoch')}, train and val.",
        height=320,
    )


def _miou_figure(row: LossRow, runs: list[Curve], mean: Curve) -> Figure:
    data = []
    for measure, dash in (("miou", "dash"), ("miou_multiclass", "solid")):
        if len(runs) > 1:
            data += [
                line(run.epochs, run.values[measure], measure, row.colour, dash=dash, width=1, opacity=0.3)
                | {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
                for run in runs
            ]
        data.append(line(mean.epochs, mean.values[measure], measure, row.colour, dash=dash))
    shapes, labels = _bands(mean)
    return Figure(
        f"loss-{_slug(row.key)}-miou",
        data,
        layout(
            xaxis=axis("epoch"),
            yaxis=value_axis("mIoU on val", rangemode="tozero"),
            shapes=shapes,
            annotations=labels,
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        "mIoU on val",
        "",
        f"miou and miou_multiclass of {row.label} on val; the last epoch has miou_multiclass "
        f"{score(row.means.get('miou_multiclass'))}.",
        height=320,
    )


def _comparison(means: list[tuple[LossRow, Curve]], metric: str) -> Figure:
    data = [line(mean.epochs, mean.values[metric], row.label, row.colour) for row, mean in means]
    longest = max((mean for _, mean in means), key=lambda mean: len(mean.epochs))
    shapes, labels = _bands(longest)
    return Figure(
        f"loss-comparison-{metric}",
        data,
        layout(
            xaxis=axis("epoch"),
            yaxis=value_axis(metric, rangemode="tozero"),
            shapes=shapes,
            annotations=labels,
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        f"{metric} of every loss",
        "",
        f"{metric} on val over the epochs for " + ", ".join(row.label for row, _ in means) + ".",
        height=320,
    )


def _class_figure(rows: list[LossRow]) -> Figure:
    names = list(rows[0].trials[0].iou)
    labels = [figure_text(name) for name in names]
    data = []
    for row, symbol in zip(rows, ("circle-open", "square", "diamond", "circle", "triangle-up") * 2, strict=False):
        values = [_class_mean(row.trials, name) for name in names]
        texts = [
            f"{figure_text(row.label)}<br>{label}: IoU {score(v)}" for label, v in zip(labels, values, strict=True)
        ]
        data.append(points(values, labels, row.label, row.colour, size=11, symbol=symbol, **hover(texts)))
    return Figure(
        "loss-classes",
        data,
        layout(
            xaxis=axis("IoU over all val tiles", showgrid=True, range=[0, 1.02], showline=False, ticks=""),
            yaxis=axis(
                type="category", autorange="reversed", showgrid=True, griddash="dot", showline=False, ticks=""
            ),
            showlegend=True,
            margin={"l": 90, "r": 14, "t": 10, "b": 40},
        ),
        "IoU of each class",
        "Last epoch, mean over the seeds of Table I.",
        "Points: "
        + "; ".join(
            f"{row.label}: " + ", ".join(f"{name} {score(_class_mean(row.trials, name))}" for name in names)
            for row in rows
        )
        + ".",
        height=max(220, 110 + 34 * len(names)),
    )


def _class_mean(trials: list[Trial], name: str) -> float | None:
    values = [trial.iou.get(name) for trial in trials]
    return None if any(value is None for value in values) else _mean(values)


def _slug(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in key)


