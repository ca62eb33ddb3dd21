"""Focal loss over its two parameters: where gamma and alpha do well."""

from __future__ import annotations

import statistics
from collections import defaultdict

from objectives.records.study import Study, Trial
from reports.figures.base import Figure, Key, Spec, axis, layout, linked, padded
from reports.style.formatting import count, figure_text, parameter, score
from reports.style.palette import NEUTRAL, SEQUENTIAL


def focal_figure(study: Study) -> Figure | None:
    """Draw a point a focal setting, coloured by its mean over seeds; None with fewer than two."""
    settings: dict[tuple[float, float], list[Trial]] = defaultdict(list)
    for trial in study.complete:
        place = _place(trial)
        if place is not None and trial.derived_from is None:
            settings[place].append(trial)
    if len(settings) < 2:
        return None
    ended = [(place, t) for t in study.in_state("pruned") if (place := _place(t)) is not None]
    places = list(settings)
    means = [statistics.fmean(t.value or 0.0 for t in settings[place]) for place in places]
    best = places[means.index(max(means))]
    metric = figure_text(study.metric)
    data: list[Spec] = []
    if ended:
        data.append(_ended(study, ended))
    data.append(_scored(study, places, means, settings, metric))
    return Figure(
        "loss-focal-map",
        data,
        layout(
            xaxis=axis("gamma", range=_range([p[0] for p in places + [e[0] for e in ended]])),
            yaxis=axis("alpha", range=_range([p[1] for p in places + [e[0] for e in ended]])),
            margin={"l": 50, "r": 10, "t": 10, "b": 44},
        ),
        "Focal loss: gamma by alpha",
        f"A point a setting, coloured by {study.metric} on val after the last epoch (mean over its seeds; "
        "the larger, the more seeds). gamma 0 with alpha 1 is class-weighted cross-entropy.",
        f"{count(len(places), 'setting')}; the best has gamma {parameter(best[0])} and alpha "
        f"{parameter(best[1])} with {score(max(means))}.",
        height=340,
        keys=(Key("ended early", NEUTRAL, symbol="circle-open"),) if ended else (),
    )


def _place(trial: Trial) -> tuple[float, float] | None:
    values = trial.params.get("gamma"), trial.params.get("alpha")
    if trial.params.get("loss") != "focal" or not all(isinstance(v, int | float) for v in values):
        return None
    return float(values[0] or 0.0), float(values[1] or 0.0)


def _range(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    room = max(0.06 * (high - low), 0.05)
    return [low - room, high + room]


def _scored(
    study: Study,
    places: list[tuple[float, float]],
    means: list[float],
    settings: dict[tuple[float, float], list[Trial]],
    metric: str,
) -> Spec:
    low, high = padded(means, 0.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place[0] for place in places],
        "y": [place[1] for place in places],
        "name": "completed",
        "marker": {
            "size": [12 + 3 * min(4, len(settings[place])) for place in places],
            "color": means,
            "cmin": low,
            "cmax": high,
            "colorscale": [list(stop) for stop in SEQUENTIAL],
            "line": {"color": NEUTRAL, "width": 1},
            "colorbar": {
                "thickness": 10,
                "outlinewidth": 0,
                "ticks": "",
                "nticks": 6,
                "title": {"text": metric},
            },
        },
        "cliponaxis": False,
    } | linked(study.kind, [settings[place][0].number for place in places])


def _ended(study: Study, ended: list[tuple[tuple[float, float], Trial]]) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place[0] for place, _ in ended],
        "y": [place[1] for place, _ in ended],
        "name": "ended early",
        "marker": {"size": 9, "symbol": "circle-open", "color": NEUTRAL},
        "cliponaxis": False,
    } | linked(study.kind, [trial.number for _, trial in ended])
