"""The plots of the loss study: losses and mIoU over the epochs."""

from __future__ import annotations

from typing import Any

from reports.figures.base import SILENT, Figure, Key, axis, layout, line, value_axis, whole_ticks
from reports.findings.epochs import Curve
from reports.findings.loss_table import LossRow
from reports.style.formatting import count, score
from reports.style.palette import NEUTRAL

# A shape over the whole height of the plot, behind the lines
_BEHIND: dict[str, Any] = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below"}


def loss_figure(row: LossRow, mean: Curve) -> Figure:
    """Draw both losses of one loss's runs, train and val, the warm-up first."""
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
            xaxis=axis("epoch", anchor="y2", **whole_ticks(min(mean.epochs), max(mean.epochs))),
            yaxis=value_axis("segmentation", domain=[0.54, 1], rangemode="tozero", nticks=4),
            yaxis2=value_axis("classification", domain=[0, 0.46], rangemode="tozero", nticks=4),
            shapes=shapes,
            annotations=labels,
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        "Segmentation and classification loss",
        "",
        f"Both losses of {row.label} on train and val over {count(len(mean.epochs), 'epoch')}.",
        height=320,
        keys=(Key("train", row.colour, dash="dot"), Key("val", row.colour, dash="solid")),
    )


def miou_figure(row: LossRow, runs: list[Curve], mean: Curve, scale: list[float]) -> Figure:
    """Draw both mIoU of one loss: the mean bold, the single seeds faint."""
    data = []
    for measure, dash in (("miou", "dash"), ("miou_multiclass", "solid")):
        if len(runs) > 1:
            data += [
                line(run.epochs, run.values[measure], measure, row.colour, dash=dash, width=1, opacity=0.3)
                | {"showlegend": False}
                | SILENT
                for run in runs
            ]
        data.append(line(mean.epochs, mean.values[measure], measure, row.colour, dash=dash))
    return Figure(
        f"loss-{_slug(row.key)}-miou",
        data,
        layout(
            xaxis=_self_training_axis(mean),
            yaxis=value_axis("mIoU on val", range=scale),
            shapes=_round_lines(mean),
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        "mIoU on val",
        "",
        f"miou and miou_multiclass of {row.label} on val; the last epoch has miou_multiclass "
        f"{score(row.means.get('miou_multiclass'))}.",
        height=320,
        keys=(Key("miou_multiclass", row.colour, dash="solid"), Key("miou", row.colour, dash="dash")),
    )


def comparison_figure(means: list[tuple[LossRow, Curve]], metric: str, scale: list[float]) -> Figure:
    """Draw one mIoU of every loss over the epochs."""
    data = [
        line(mean.epochs, mean.values[metric], row.label, row.colour, meta=_runs(row)) for row, mean in means
    ]
    longest = max((mean for _, mean in means), key=lambda mean: len(mean.epochs))
    return Figure(
        f"loss-comparison-{metric}",
        data,
        layout(
            xaxis=_self_training_axis(longest),
            yaxis=value_axis(metric, range=scale),
            shapes=_round_lines(longest),
            margin={"l": 52, "r": 14, "t": 24, "b": 40},
        ),
        f"{metric} of every loss",
        "",
        f"{metric} on val over the epochs for " + ", ".join(row.label for row, _ in means) + ".",
        height=320,
    )


def _runs(row: LossRow) -> dict[str, Any]:
    """Name the trials that a line stands for, so that the page can link it to their rows."""
    return {"study": "loss", "trials": [trial.number for trial in row.all_trials]}


def _self_training_axis(curve: Curve) -> dict[str, Any]:
    """Epochs from the first round on: before it no decoder is trained, and no mIoU measured."""
    ends = [curve.warm_up_end + 0.5, max(curve.epochs) + 0.5]
    return axis("epoch", range=ends, **whole_ticks(*ends))


def _bands(curve: Curve) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shade the warm-up and mark the rounds."""
    shapes: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    if curve.warm_up_end:
        first = min(curve.epochs)
        end = curve.warm_up_end + 0.5
        band = {"type": "rect", "x0": first - 0.5, "x1": end, "fillcolor": "rgba(125,138,148,0.12)"}
        shapes.append(_BEHIND | band | {"line": {"width": 0}})
        above = {"x": (first - 0.5 + end) / 2, "y": 1, "yref": "paper", "yanchor": "bottom"}
        labels.append(above | {"text": "warm-up", "showarrow": False, "font": {"size": 11}})
    return shapes + _round_lines(curve), labels


def _round_lines(curve: Curve) -> list[dict[str, Any]]:
    """Mark where new pseudo-labels are made."""
    stroke = {"width": 1, "dash": "dot", "color": "rgba(125,138,148,0.6)"}
    return [
        _BEHIND | {"type": "line", "x0": start - 0.5, "x1": start - 0.5, "line": stroke}
        for start in curve.round_starts
    ]


def _slug(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in key)
