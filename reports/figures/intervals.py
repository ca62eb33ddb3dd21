"""Differences with their intervals about a line at zero: they show whether a gain is real."""

from __future__ import annotations

from dataclasses import dataclass

from reports.figures.base import Figure, Key, Spec, axis, hover, layout
from reports.style.formatting import difference, figure_text, interval
from reports.style.palette import NEUTRAL
from sonarseg.metrics.bootstrap import Interval


@dataclass(frozen=True)
class Differences:
    """One series: a difference a row, in one colour."""

    label: str
    colour: str
    symbol: str
    gains: list[tuple[str, Interval]]


def interval_figure(
    key: str,
    series: list[Differences],
    title: str,
    axis_title: str,
    caption: str,
    wide: bool = False,
) -> Figure:
    """Draw the differences of every series, rows top down; `series` holds one with one row at least."""
    rows = list(dict.fromkeys(row for each in series for row, _ in each.gains))
    spread = 0.0 if len(series) == 1 else 0.2
    data: list[Spec] = []
    for place, each in enumerate(series):
        shift = spread * (place - (len(series) - 1) / 2)
        data.append(_trace(each, [rows.index(row) + shift for row, _ in each.gains]))
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    spoken = [
        f"{row}, {each.label}: {difference(gain.value)} ({interval(gain.low, gain.high)})"
        for each in series
        for row, gain in each.gains
    ]
    return Figure(
        key,
        data,
        layout(
            xaxis=axis(axis_title, showgrid=True, showline=False, ticks="", tickformat="+.2f", nticks=7),
            yaxis=axis(
                tickvals=list(range(len(rows))),
                ticktext=[figure_text(row) for row in rows],
                range=[len(rows) - 0.5, -0.5],
                showline=False,
                ticks="",
            ),
            shapes=[zero | {"line": {"color": NEUTRAL, "width": 1.5}}],
            margin={"l": 60, "r": 14, "t": 6, "b": 40},
        ),
        title,
        caption,
        "; ".join(spoken) + ".",
        height=max(170, 80 + (24 + 14 * len(series)) * len(rows)),
        keys=tuple(Key(each.label, each.colour, symbol=each.symbol) for each in series),
        wide=wide,
    )


def _trace(each: Differences, heights: list[float]) -> Spec:
    gains = [gain for _, gain in each.gains]
    texts = [
        f"{figure_text(row)}<br>{figure_text(each.label)} {difference(gain.value)}"
        f"<br>95 % {interval(gain.low, gain.high)}"
        for row, gain in each.gains
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [gain.value for gain in gains],
        "y": heights,
        "name": figure_text(each.label),
        "marker": {"color": each.colour, "size": 10, "symbol": each.symbol},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [gain.high - gain.value if gain.known else 0.0 for gain in gains],
            "arrayminus": [gain.value - gain.low if gain.known else 0.0 for gain in gains],
            "color": each.colour,
            "thickness": 2,
            "width": 0,
        },
        "cliponaxis": False,
    } | hover(texts)
