"""Where in the parameters of the dense CRF the good settings lie: a map of two, and all at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.records.ranking import best_of
from objectives.records.study import Study, Trial
from reports.figures.base import Figure, Key, Spec, axis, layout, line, linked, log_ticks, points
from reports.style.formatting import PARAMETER_UNITS, count, figure_text, ordered, parameter, score
from reports.style.palette import ACCENT, FAINT, NEUTRAL, SEQUENTIAL, WARNING

MAPPED = ("sigma_alpha", "sigma_beta")
LEAST_FOR_MAP = 8
# Width of the Gaussian weights and side of the grid, in shares of the range
BANDWIDTH, GRID = 0.09, 48
# Below this weight no trial is near, and nothing is claimed
LEAST_WEIGHT = 0.35
MOST_LINES = 400


@dataclass(frozen=True)
class Place:
    """A trial in the search space; `sure` unless it was ended early and its score is an estimate."""

    trial: Trial
    value: float
    sure: bool


def places(study: Study) -> list[Place]:
    """List completed trials, and pruned ones with the estimate on which they were ended."""
    found = [Place(trial, trial.value, True) for trial in study.complete if trial.value is not None]
    found += [
        Place(trial, trial.intermediate[max(trial.intermediate)], False)
        for trial in study.in_state("pruned")
        if trial.intermediate
    ]
    return found


def map_figure(study: Study) -> Figure | None:
    """Draw the smoothed score over sigma_alpha and sigma_beta; None where too few trials tell it."""
    found = [p for p in places(study) if _positive(p) and p.trial.params.get("iterations") != 0]
    if len([p for p in found if not p.trial.name]) < LEAST_FOR_MAP:
        return None
    first, second = ([float(p.trial.params[name]) for p in found] for name in MAPPED)
    if min(first) == max(first) or min(second) == max(second):
        return None
    x, y, surface = smooth_map(first, second, [p.value for p in found])
    metric = figure_text(study.metric)
    best = best_of([p.trial for p in found if p.sure])
    groups = [
        (Key("completed", NEUTRAL), [p for p in found if p.sure and not p.trial.name], 6),
        (Key("ended early", NEUTRAL, symbol="circle-open"), [p for p in found if not p.sure], 5),
        (Key("untuned", WARNING, symbol="diamond"), [p for p in found if p.sure and p.trial.name], 9),
    ]
    data: list[Spec] = [_surface(x, y, surface, metric)]
    keys = []
    for key, members, size in groups:
        if members:
            keys.append(key)
            colour = "#16222b" if key.colour == NEUTRAL else key.colour
            data.append(_points(key, members, colour, size))
    if best is not None:
        key = Key("best", WARNING, symbol="star")
        keys.append(key)
        data.append(_points(key, [Place(best, best.value or 0.0, True)], "#ffffff", 15, star=True))
    return Figure(
        "crf-map",
        data,
        layout(
            xaxis=axis(_title(MAPPED[0]), **log_ticks(first)),
            yaxis=axis(_title(MAPPED[1]), **log_ticks(second)),
            margin={"l": 56, "r": 10, "t": 10, "b": 44},
        ),
        "sigma_alpha by sigma_beta",
        f"Colour: {study.metric} of the trials near each place, averaged with Gaussian weights, "
        "whatever the other parameters; blank where no trial is near. Trials ended early count with their "
        "estimate.",
        f"Map of {study.metric} from {count(len(found), 'trial')}; the best has "
        + (
            "none."
            if best is None
            else ", ".join(f"{name} {parameter(best.params[name])}" for name in MAPPED)
            + f" and {score(best.value)}."
        ),
        height=380,
        keys=tuple(keys),
    )


def smooth_map(
    first: list[float], second: list[float], values: list[float]
) -> tuple[list[float], list[float], NDArray[np.float64]]:
    """Average scores with Gaussian weights on a grid of two parameters on log scales.

    Returns
    -------
    tuple
        Grid (GRID,) of the first and of the second parameter, and the surface (GRID, GRID), rows the
        second parameter; NaN where no trial is near.

    Source: Nadaraya (1964) and Watson (1964), kernel regression.
    """
    logs = [np.log(np.asarray(values_of, dtype=float)) for values_of in (first, second)]
    unit = [(log - log.min()) / (log.max() - log.min()) for log in logs]
    ticks = np.linspace(0.0, 1.0, GRID)
    near = [np.exp(-0.5 * ((ticks[:, None] - place) / BANDWIDTH) ** 2) for place in unit]
    weights = near[1] @ near[0].T
    sums = (near[1] * np.asarray(values)) @ near[0].T
    surface = np.where(weights >= LEAST_WEIGHT, sums / np.maximum(weights, 1e-12), np.nan)
    grid = [np.exp(log.min() + ticks * (log.max() - log.min())) for log in logs]
    return grid[0].tolist(), grid[1].tolist(), surface


def parallel_figure(study: Study) -> Figure | None:
    """Draw every trial as a line over all parameters; None with fewer than two trials."""
    found = sorted(places(study), key=lambda p: p.value)
    if len([p for p in found if p.sure]) < 2:
        return None
    best = {id(p) for p in found[-max(1, len(found) // 10) :]}
    drawn = [p for p in found if p.trial.name or id(p) in best]
    rest = [p for p in found if not p.trial.name and id(p) not in best]
    room = max(0, MOST_LINES - len(drawn))
    step = max(1, -(-len(rest) // max(1, room)))
    rest = rest[::step]
    names = ordered(name for p in found for name in p.trial.params)
    scales = [_Scale(name, study, [p.trial for p in found]) for name in names]
    low, high = found[0].value, found[-1].value
    groups = [
        (Key("other trials", FAINT, dash="solid"), rest, 1.0, 0.35),
        (Key("untuned", WARNING, dash="dot"), [p for p in drawn if p.trial.name], 1.5, 0.9),
        (Key("best tenth", ACCENT, dash="solid"), [p for p in drawn if not p.trial.name], 1.6, 0.75),
    ]
    data = [
        _lines(key, members, scales, low, high, width, opacity) for key, members, width, opacity in groups
    ]
    labels = [(scale.name, scale.low, scale.high) for scale in scales]
    labels.append((study.metric, score(low), score(high)))
    left_out = f" {count(len(rest), 'line')} of the others are drawn, every {step}th." if step > 1 else ""
    return Figure(
        "crf-parallel",
        data,
        layout(
            xaxis=axis(range=[-0.35, len(labels) - 0.65], showticklabels=False, showline=False, ticks=""),
            yaxis=axis(range=[-0.12, 1.33], showticklabels=False, showline=False, ticks=""),
            shapes=[_post(place) for place in range(len(labels))],
            annotations=[note for place, label in enumerate(labels) for note in _notes(place, *label)],
            margin={"l": 10, "r": 48, "t": 6, "b": 6},
        ),
        "All parameters at once",
        "A line per trial; it breaks where a parameter does not exist in the setting. Scales as searched, "
        "words evenly spaced." + left_out,
        f"Parallel coordinates of {count(len(found), 'trial')} over {', '.join(names)} and {study.metric}.",
        height=330,
        keys=tuple(key for key, members, *_ in groups if members),
        wide=True,
        upright=_upright(labels),
    )


def _upright(labels: list[tuple[str, str, str]]) -> Spec:
    """Lay the axes out one below the other, for a narrow screen: names and ends stand beside them."""
    side: Spec = {"xref": "paper", "showarrow": False, "font": {"size": 11}}
    shapes, notes = [], []
    for place, (name, low, high) in enumerate(labels):
        post = {"type": "line", "x0": 0, "x1": 1, "y0": place, "y1": place, "layer": "below"}
        shapes.append(post | {"line": {"color": FAINT, "width": 1}})
        left = side | {"x": 0, "xanchor": "right", "xshift": -8, "y": place}
        notes.append(left | {"yanchor": "bottom", "text": f"<b>{figure_text(name)}</b>"})
        notes.append(left | {"yanchor": "top", "text": figure_text(low)})
        notes.append(side | {"x": 1, "xanchor": "left", "xshift": 8, "y": place, "text": figure_text(high)})
    hidden: Spec = {"showticklabels": False, "showline": False, "ticks": ""}
    return layout(
        xaxis=axis(range=[-0.02, 1.02], **hidden),
        yaxis=axis(range=[len(labels) - 0.5, -0.5], **hidden),
        shapes=shapes,
        annotations=notes,
        margin={"l": 116, "r": 56, "t": 6, "b": 6},
        height=46 * len(labels),
    )


class _Scale:
    """Maps a parameter's values to 0..1 along its axis."""

    def __init__(self, name: str, study: Study, trials: list[Trial]) -> None:
        values = [t.params[name] for t in trials if t.params.get(name) is not None]
        self.name = name
        self.words = sorted({str(value) for value in values}) if isinstance(values[0], str) else []
        self.log = name in study.log_parameters() and all(not self.words and v > 0 for v in values)
        ends = (0, 1) if self.words else (min(values), max(values))
        self.ends = tuple(math.log(end) for end in ends) if self.log else tuple(float(end) for end in ends)
        self.low, self.high = (
            (self.words[0], self.words[-1]) if self.words else tuple(parameter(end) for end in ends)
        )

    def place(self, value: Any) -> float | None:
        if value is None:
            return None
        if self.words:
            return self.words.index(str(value)) / max(1, len(self.words) - 1)
        number = math.log(value) if self.log else float(value)
        low, high = self.ends
        return 0.5 if high == low else round((number - low) / (high - low), 4)


def _lines(
    key: Key,
    members: list[Place],
    scales: list[_Scale],
    low: float,
    high: float,
    width: float,
    opacity: float,
) -> Spec:
    x: list[Any] = []
    y: list[Any] = []
    numbers: list[int | None] = []
    for member in members:
        heights = [scale.place(member.trial.params.get(scale.name)) for scale in scales]
        heights.append(round((member.value - low) / ((high - low) or 1), 4))
        x += [*range(len(heights)), None]
        y += [*heights, None]
        numbers += [member.trial.number] * (len(heights) + 1)
    drawn = line(x, y, key.text, key.colour, width=width, dash=key.dash, opacity=opacity)
    return drawn | linked("crf", numbers)


def _post(place: int) -> Spec:
    colour = {"color": FAINT, "width": 1}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": colour, "layer": "below"}


def _notes(place: int, name: str, low: str, high: str) -> list[Spec]:
    plain: Spec = {"x": place, "showarrow": False, "font": {"size": 11}}
    return [
        plain | {"y": 1.04, "yanchor": "bottom", "text": figure_text(high)},
        plain | {"y": -0.04, "yanchor": "top", "text": figure_text(low)},
        # In two lines, so that neighbours do not run into each other on paper
        plain | {"y": 1.14 + 0.09 * (place % 2), "yanchor": "bottom", "text": f"<b>{figure_text(name)}</b>"},
    ]


def _positive(place: Place) -> bool:
    values = [place.trial.params.get(name) for name in MAPPED]
    return all(isinstance(value, int | float) and value > 0 for value in values)


def _title(name: str) -> str:
    return f"{name} ({PARAMETER_UNITS[name]})"


def _points(key: Key, members: list[Place], colour: str, size: int, star: bool = False) -> Spec:
    x, y = ([float(p.trial.params[name]) for p in members] for name in MAPPED)
    outline = {"color": WARNING if star else "#ffffff", "width": 2 if star else 1}
    if key.symbol == "circle-open":
        outline = {"color": colour, "width": 1}
    drawn = points(x, y, key.text, colour, size=size, symbol=key.symbol, opacity=0.9, line=outline)
    return drawn | linked("crf", [p.trial.number for p in members])


def _surface(x: list[float], y: list[float], surface: NDArray[np.float64], metric: str) -> Spec:
    z = [[None if math.isnan(v) else round(float(v), 5) for v in row] for row in surface]
    return {
        "type": "contour",
        "x": x,
        "y": y,
        "z": z,
        "colorscale": [list(stop) for stop in SEQUENTIAL],
        "ncontours": 12,
        "line": {"width": 0.6, "color": "rgba(255,255,255,0.55)"},
        "connectgaps": False,
        "hoverinfo": "skip",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "ticks": "", "nticks": 6, "title": {"text": metric}},
    }
