"""The plots of the dense CRF study: history, importance, slices."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from objectives.records.study import Study, Trial
from reports.figures.base import (
    SILENT,
    Figure,
    Key,
    Spec,
    at_least,
    axis,
    floor_without_stragglers,
    layout,
    line,
    linked,
    log_ticks,
    padded,
    points,
    value_axis,
    whole_ticks,
)
from reports.style.formatting import PARAMETER_UNITS, count, figure_text, score
from reports.style.palette import ACCENT, NEUTRAL, WARNING
from reports.style.thinning import drawn_trials, ended_trials

SEARCHED = Key("searched", ACCENT)
UNTUNED = Key("untuned", WARNING, symbol="diamond")
ENDED = Key("ended early, estimate", NEUTRAL, symbol="circle-open")


def history_figure(study: Study, best_untuned: Trial | None) -> Figure:
    """Draw the value of every completed trial and the best so far; the study has one at least."""
    metric = figure_text(study.metric)
    numbers = [trial.number for trial in study.complete]
    values = [trial.value or 0.0 for trial in study.complete]
    best = list(accumulate(values, max))
    keys = [Key("best so far", ACCENT, dash="solid"), SEARCHED, UNTUNED]
    data = [line(*_steps(numbers, best), "best so far", ACCENT, shape="hv", **SILENT)]
    floor = _floor(study)
    for key, named, size in ((SEARCHED, False, 7), (UNTUNED, True, 9)):
        trials = [trial for trial in drawn_trials(study) if bool(trial.name) is named]
        x = [trial.number for trial in trials]
        data.append(
            _points(study, key, x, [(t, t.value or 0.0) for t in trials], floor, size, 1.0 if named else 0.7)
        )
    ended = ended_trials(study)
    if ended:
        keys.append(ENDED)
        data.append(_points(study, ENDED, [trial.number for trial, _ in ended], ended, floor, 6, 0.6))
    if best_untuned is not None:
        label = f"best untuned, {best_untuned.name}"
        level = [best_untuned.value] * 2
        data.insert(
            0, line([numbers[0], numbers[-1]], level, label, WARNING, dash="dot", width=1.5, **SILENT)
        )
        keys.append(Key(label, WARNING, dash="dot"))
    return Figure(
        "crf-history",
        data,
        layout(
            xaxis=axis("trial", rangemode="tozero", **whole_ticks(0, numbers[-1])),
            yaxis=value_axis(metric, range=_range(study)),
        ),
        "Optimisation history",
        f"{study.metric} of the pseudo-labels on val, of every completed trial"
        + (", and the estimate on which others were ended early." if ended else ", and the best so far.")
        + below_the_floor(study),
        f"Scatter of {count(len(study.complete), 'completed trial')}; the best reaches {score(best[-1])}.",
        height=320,
        keys=tuple(keys),
        wide=True,
    )


def importance_figure(importance: dict[str, float], metric: str) -> Figure:
    """Draw the importance of each parameter, largest on top."""
    names = list(reversed(importance))
    values = [importance[name] for name in names]
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": [figure_text(name) for name in names],
        "text": [f"{value:.2f}" for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ACCENT, "opacity": 0.85},
        "hoverinfo": "skip",
    }
    return Figure(
        "crf-importance",
        [bars],
        layout(
            xaxis=axis(
                "share of the importance", range=[0, (max(values) or 1) * 1.15], showline=False, ticks=""
            ),
            yaxis=axis(type="category", showline=False, ticks=""),
            bargap=0.45,
            margin={"l": 110, "r": 24, "t": 6, "b": 40},
        ),
        "Parameter importance",
        f"PED-ANOVA: how much each parameter decides whether a trial is among the best tenth in {metric}; "
        "trials ended early count with their estimate.",
        "Bars, most important first: " + ", ".join(f"{name} {v:.2f}" for name, v in importance.items()) + ".",
        height=max(200, 60 + 26 * len(names)),
    )


def slice_figure(study: Study, name: str, place: int) -> Figure:
    """Draw the value of every completed trial over one parameter; `place` tells the plots apart."""
    unit = PARAMETER_UNITS.get(name)
    title = figure_text(name) + (f" ({unit})" if unit else "")
    with_it = [trial for trial in drawn_trials(study) if trial.params.get(name) is not None]
    words = any(isinstance(trial.params[name], str) for trial in with_it)
    data, floor = [], _floor(study)

    def over(trials: list[tuple[Trial, float]]) -> list[Any]:
        return [figure_text(t.params[name]) if words else t.params[name] for t, _ in trials]

    for key, named in ((SEARCHED, False), (UNTUNED, True)):
        shown = [(trial, trial.value or 0.0) for trial in with_it if bool(trial.name) is named]
        data.append(_points(study, key, over(shown), shown, floor, 7, 0.7))
    ended = [(t, value) for t, value in ended_trials(study) if t.params.get(name) is not None]
    if ended:
        data.append(_points(study, ENDED, over(ended), ended, floor, 6, 0.6))
    return Figure(
        f"crf-slice-{place}",
        data,
        layout(
            xaxis=axis(title, **_slice_axis(study, name, with_it + [t for t, _ in ended], words)),
            yaxis=value_axis(range=_range(study), nticks=4),
            margin={"l": 40, "r": 10, "t": 6, "b": 40},
        ),
        title,
        "",
        f"{study.metric} of {count(len(with_it), 'trial')} over {name}.",
        height=190,
        keys=(SEARCHED, UNTUNED, ENDED) if ended else (SEARCHED, UNTUNED),
    )


def _slice_axis(study: Study, name: str, trials: list[Trial], words: bool) -> dict[str, Any]:
    if words:
        return {"type": "category", "range": [-0.6, len({t.params[name] for t in trials}) - 0.4]}
    if name in study.log_parameters() and all(t.params[name] > 0 for t in trials):
        return log_ticks([float(t.params[name]) for t in trials])
    return {"nticks": 6}


def _steps(numbers: list[int], best: list[float]) -> tuple[list[int], list[float]]:
    """Keep the ends of the line and every place where it rises."""
    kept = [i for i, value in enumerate(best) if i in (0, len(best) - 1) or value > best[i - 1]]
    return [numbers[i] for i in kept], [best[i] for i in kept]


def below_the_floor(study: Study) -> str:
    """Say in a sentence how many trials history and slices draw at their lower edge; "" where none."""
    floor = _floor(study)
    below = sum(value < floor for value in _values(study))
    return f" Triangles at the lower edge: {count(below, 'trial')} below {score(floor)}." if below else ""


def _floor(study: Study) -> float:
    """Where the plots of all trials end, so that a few bad ones do not flatten them."""
    best_untuned = [trial.value or 0.0 for trial in study.complete if trial.name]
    return min([floor_without_stragglers(_values(study)), *sorted(best_untuned)[-1:]])


def _range(study: Study) -> list[float]:
    floor = _floor(study)
    return padded([max(value, floor) for value in _values(study)])


def _values(study: Study) -> list[float]:
    """List all values that the plots of the study show."""
    return [trial.value or 0.0 for trial in study.complete] + [value for _, value in ended_trials(study)]


def _points(
    study: Study,
    key: Key,
    x: list[Any],
    trials: list[tuple[Trial, float]],
    floor: float,
    size: int,
    opacity: float,
) -> Spec:
    """Draw trials with their values, linked to their rows."""
    y, symbols = at_least([value for _, value in trials], floor, key.symbol)
    texts = linked(study.kind, [trial.number for trial, _ in trials])
    return points(x, y, key.text, key.colour, size=size, symbol=symbols, opacity=opacity, **texts)
