"""The one style of every plot, and how plots reach the page.

A figure is a plain plotly specification. Colours of text, lines and grid are left to the page's
style sheet, so that light, dark and print need no second drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.style.formatting import figure_text, finite
from reports.style.palette import FAINT, NEUTRAL

Spec = dict[str, Any]
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"


# Lines that only lead the eye say nothing under the pointer
SILENT: Spec = {"hoverinfo": "skip", "hovertemplate": None}


@dataclass(frozen=True)
class Key:
    """An entry of a plot's legend, drawn by the page.

    Attributes
    ----------
    dash : str
        "solid", "dot" or "dash" for a line; "" for a point.
    symbol : str
        Plotly's name of the point's symbol.
    """

    text: str
    colour: str
    dash: str = ""
    symbol: str = "circle"


@dataclass(frozen=True)
class Figure:
    """A plot of the page.

    Attributes
    ----------
    key : str
        Id in the page.
    data, layout : list and dict
        The plotly specification.
    title : str
        Short heading above the plot.
    caption : str
        What is drawn, in a sentence or two.
    description : str
        What the plot shows, for those who do not see it.
    height : int
        Pixels.
    keys : tuple of Key
        The legend.
    wide : bool
        Whether the plot takes the whole width of the page.
    upright : dict or None
        Layout with x and y exchanged, which a narrow screen shows instead; it names its height.
    """

    key: str
    data: list[Spec]
    layout: Spec
    title: str
    caption: str
    description: str
    height: int = 300
    keys: tuple[Key, ...] = ()
    wide: bool = False
    upright: Spec | None = None

    def specification(self) -> Spec:
        """Give what the page's script draws."""
        drawn: Spec = {"data": self.data, "layout": {**self.layout, "height": self.height}}
        return drawn if self.upright is None else drawn | {"upright": self.upright}


def axis(title: str = "", **more: Any) -> Spec:
    """Make an axis in the report's style."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 12}},
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "linewidth": 1,
        "linecolor": FAINT,
        "gridcolor": FAINT,
        "tickcolor": FAINT,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "fixedrange": True,
    } | more


def value_axis(title: str = "", **more: Any) -> Spec:
    """Make a vertical axis of numbers: fine grid lines, no line of its own."""
    return axis(title, **({"showgrid": True, "showline": False, "ticks": "", "nticks": 6} | more))


def layout(**more: Any) -> Spec:
    """Make a layout in the report's style: transparent, one typeface, the legend left to the page."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": NEUTRAL},
        "margin": {"l": 46, "r": 14, "t": 10, "b": 40},
        "hovermode": "closest",
        "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
        "dragmode": False,
        "showlegend": False,
    } | more


def line(x: list[Any], y: list[Any], name: str, colour: str, **more: Any) -> Spec:
    """Make a line; `dash`, `width` and `shape` are those of the line, the rest of the trace."""
    style = {key: more.pop(key) for key in ("dash", "width", "shape") if key in more}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": [finite(value) for value in y],
        "name": figure_text(name),
        "line": {"color": colour, "width": 2} | style,
        "hovertemplate": "%{y:.3f}<extra>%{fullData.name}</extra>",
    } | more


def points(x: list[Any], y: list[Any], name: str, colour: str, **more: Any) -> Spec:
    """Make points; `size`, `symbol`, `opacity` and `line` are those of the marker, the rest of the trace."""
    style = {key: more.pop(key) for key in ("size", "symbol", "opacity", "line") if key in more}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "name": figure_text(name),
        "marker": {"color": colour, "size": 7, "opacity": 0.85} | style,
        "cliponaxis": False,
    } | more


def linked(kind: str, numbers: Sequence[int | None]) -> Spec:
    """Link a trace's points to the trials of a study; the page writes their hover texts."""
    return {
        "customdata": list(numbers),
        "meta": {"study": kind},
        "hovertemplate": "%{text}<extra></extra>",
    }


def hover(texts: list[str]) -> Spec:
    """Make hover texts, given point by point; they are data, never a template."""
    return {"text": texts, "hovertemplate": "%{text}<extra></extra>"}


def log_ticks(values: list[float]) -> Spec:
    """Place the ticks of a logarithmic axis: the decades, or 1, 2 and 5 where there are few of them."""
    low, high = (math.log10(end) for end in (min(values), max(values)))
    steps = (1, 2, 5) if high - low < 2.3 else (1,)
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def whole_ticks(low: float, high: float) -> Spec:
    """Place at most nine ticks at whole numbers, on an axis of epochs, iterations or trials."""
    step = next(s * 10**power for power in range(9) for s in (1, 2, 5) if (high - low) / (s * 10**power) <= 8)
    return {"tick0": 0, "dtick": step}


def padded(values: list[float], share: float = 0.08) -> list[float]:
    """Find a range that leaves room round the values; shares stay within 0 and 1."""
    low, high = min(values), max(values)
    room = max((high - low) * share, 0.004)
    bottom = max(low - room, 0.0) if low >= 0 else low - room
    top = min(high + room, 1.0) if high <= 1 else high + room
    return [bottom, top]


def floor_without_stragglers(values: list[float]) -> float:
    """Find the value below which a few stragglers would flatten a plot: the least one where there are none.

    Stragglers lie below the upper 95 % of the values by more than half of what those span.
    """
    ranked = sorted(values)
    low, high = ranked[len(ranked) // 20], ranked[-1]
    fence = low - (high - low) / 2
    return min(value for value in ranked if value >= fence)


def at_least(values: list[float], floor: float, symbol: str) -> tuple[list[float], str | list[str]]:
    """Draw what lies below `floor` at it, as triangles that point down; the others by `symbol`."""
    below = [value < floor for value in values]
    if not any(below):
        return values, symbol
    drawn = [floor if beneath else value for value, beneath in zip(values, below, strict=True)]
    return drawn, ["triangle-down-open" if beneath else symbol for beneath in below]
