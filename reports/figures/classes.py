"""IoU of each class for several settings or losses, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.figures.base import SILENT, Figure, Key, axis, hover, layout, line, points
from reports.style.formatting import class_score, figure_text
from reports.style.palette import NEUTRAL


@dataclass(frozen=True)
class ClassScores:
    """IoU a class name of one thing, and how its points look."""

    label: str
    colour: str
    symbol: str
    iou: dict[str, float | None]


def class_figure(key: str, series: list[ClassScores], caption: str) -> Figure:
    """Draw a row a class, a point a setting, and a thin line from the lowest to the highest.

    `series` holds one element at least.
    """
    names = list(series[0].iou)
    labels = [figure_text(name) for name in names]
    data = [_spans(series, names, labels)]
    for each in series:
        values = [each.iou.get(name) for name in names]
        texts = [
            f"{figure_text(each.label)}<br>{label}: IoU {class_score(value)}"
            for label, value in zip(labels, values, strict=True)
        ]
        data.append(
            points(values, labels, each.label, each.colour, size=11, symbol=each.symbol, **hover(texts))
        )
    spoken = [
        f"{each.label}: " + ", ".join(f"{name} {class_score(each.iou.get(name))}" for name in names)
        for each in series
    ]
    return Figure(
        key,
        data,
        layout(
            xaxis=axis(
                "IoU over all val tiles", showgrid=True, range=[-0.02, 1.02], showline=False, ticks=""
            ),
            yaxis=axis(
                type="category",
                range=[len(names) - 0.5, -0.5],
                showgrid=True,
                griddash="dot",
                showline=False,
                ticks="",
            ),
            margin={"l": 60, "r": 14, "t": 6, "b": 40},
        ),
        "IoU of each class",
        caption,
        "Points: " + "; ".join(spoken) + ".",
        height=max(200, 80 + 34 * len(names)),
        keys=tuple(Key(each.label, each.colour, symbol=each.symbol) for each in series),
    )


def _spans(series: list[ClassScores], names: list[str], labels: list[str]) -> dict[str, Any]:
    """Lead the eye along each class: a thin line under its points."""
    x: list[float | None] = []
    y: list[str | None] = []
    for name, label in zip(names, labels, strict=True):
        values = [value for each in series if (value := each.iou.get(name)) is not None]
        if values:
            x += [min(values), max(values), None]
            y += [label, label, None]
    return line(x, y, "", NEUTRAL, width=1.5, opacity=0.5) | {"y": y} | SILENT
