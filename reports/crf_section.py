"""The dense CRF study: best parameters beside the untuned ones, history, importance, slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import optuna

from reports.database import Study, Trial, best_of
from reports.figures import (
    Figure,
    axis,
    figure_text,
    horizontal,
    hover,
    layout,
    line,
    padded,
    points,
    setting_lines,
    value_axis,
)
from reports.formatting import PARAMETER_UNITS, count, difference, parameter, score
from reports.palette import ACCENT, NEUTRAL, WARNING
from sonarseg.metrics.scores import METRICS, paired_interval

# Below this many completed trials the best tenth that PED-ANOVA looks at is a handful of chance
LEAST_FOR_IMPORTANCE = 20
BOOTSTRAP_SEED = 0
PARAMETER_ORDER = (
    "sigma_alpha",
    "sigma_beta",
    "sigma_gamma",
    "w_bilateral",
    "w_spatial",
    "iterations",
    "unary",
    "unary_scale",
    "gt_prob",
    "background_score",
    "guide",
)


@dataclass(frozen=True)
class Gain:
    """Difference of the study's metric and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def certain(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.known and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Setting:
    """A row of the comparison: the tuned setting or an untuned one."""

    label: str
    trial: Trial
    tuned: bool
    gain: Gain | None


@dataclass(frozen=True)
class CrfSection:
    """What the page shows of the dense CRF study."""

    study: Study
    tuned: Trial | None
    untuned: list[Trial]
    settings: list[Setting]
    parameters: list[str]
    figures: list[Figure]
    slices: list[Figure]
    notes: list[str]

    @property
    def best_untuned(self) -> Trial | None:
        """The untuned setting of the largest value."""
        return best_of(self.untuned)

    @property
    def gain(self) -> Gain | None:
        """Tuned setting against the best untuned one."""
        best = self.best_untuned
        return next((s.gain for s in self.settings if best is not None and s.trial is best), None)


def crf_section(study: Study) -> CrfSection:
    """Prepare the section from the study."""
    untuned = [trial for trial in study.complete if trial.name]
    tuned = best_of([trial for trial in study.complete if not trial.name])
    settings = _settings(study, tuned, untuned)
    figures, notes = [], []
    if study.complete:
        figures.append(_history(study, best_of(untuned)))
        if any(setting.trial.iou for setting in settings):
            figures.append(_class_figure(study, settings))
        importance = parameter_importance(study)
        if importance is None:
            notes.append(
                f"Parameter importance is left out: it needs {LEAST_FOR_IMPORTANCE} completed trials of "
                f"different values, and there are {len(study.complete)}."
            )
        else:
            figures.append(_importance_figure(importance, study.metric))
    return CrfSection(
        study=study,
        tuned=tuned,
        untuned=untuned,
        settings=settings,
        parameters=_parameters(study),
        figures=figures,
        slices=[_slice(study, name) for name in _parameters(study)] if len(study.complete) > 1 else [],
        notes=notes,
    )


def compare(study: Study, better: Trial, other: Trial) -> Gain | None:
    """Difference of the study's metric over the same tiles, strips resampled.

    The confusions of both trials decide; without them the difference of the values stands alone.
    """
    if study.metric not in METRICS or better.value is None or other.value is None:
        return None
    a, b = better.confusions, other.confusions
    if a is None or b is None or a.shape != b.shape:
        return Gain(better.value - other.value, math.nan, math.nan)
    groups = study.groups
    if groups is not None and len(groups) != len(a):
        groups = None
    return Gain(*paired_interval(a, b, study.metric, groups=groups, seed=BOOTSTRAP_SEED))


def parameter_importance(study: Study) -> dict[str, float] | None:
    """PED-ANOVA importance a parameter, largest first; None where too few trials tell it.

    Watanabe et al., "PED-ANOVA" (arXiv 2304.10255), as Optuna evaluates it.
    """
    complete = [t for t in study.frozen if t.state is optuna.trial.TrialState.COMPLETE and t.values]
    if len(complete) < LEAST_FOR_IMPORTANCE or len({t.value for t in complete}) < 2:
        return None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a copy in memory is no news to anybody
    try:
        copy = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    finally:
        optuna.logging.set_verbosity(verbosity)
    copy.add_trials(complete)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(copy, evaluator=evaluator)


def _settings(study: Study, tuned: Trial | None, untuned: list[Trial]) -> list[Setting]:
    rows = []
    if tuned is not None:
        searched = len([trial for trial in study.complete if not trial.name])
        rows.append(Setting(f"Tuned, best of {searched}", tuned, True, None))
    for trial in untuned:
        gain = None if tuned is None else compare(study, tuned, trial)
        rows.append(Setting(trial.name or "", trial, False, gain))
    return sorted(rows, key=lambda row: (-(row.trial.value or 0.0), row.trial.number))


def _parameters(study: Study) -> list[str]:
    found = {name for trial in study.complete for name in trial.params}
    known = [name for name in PARAMETER_ORDER if name in found]
    return known + sorted(found - set(known))


def _trial_text(trial: Trial, metric: str) -> str:
    name = f" · {figure_text(trial.name)}" if trial.name else ""
    return f"trial {trial.number}{name}<br>{metric} {score(trial.value)}<br>{setting_lines(trial.params)}"


def _history(study: Study, best_untuned: Trial | None) -> Figure:
    metric = figure_text(study.metric)
    searched = [trial for trial in study.complete if not trial.name]
    named = [trial for trial in study.complete if trial.name]
    best_x, best_y = [], []
    for trial in study.complete:
        value = trial.value or 0.0
        best_x.append(trial.number)
        best_y.append(max(value, best_y[-1]) if best_y else value)
    data = [
        line(best_x, best_y, "best so far", ACCENT, shape="hv", width=2, hoverinfo="skip", hovertemplate=None),
        points(
            [t.number for t in searched],
            [t.value for t in searched],
            "searched",
            ACCENT,
            size=7,
            opacity=0.55,
            **hover([_trial_text(t, metric) for t in searched]),
        ),
        points(
            [t.number for t in named],
            [t.value for t in named],
            "untuned",
            WARNING,
            size=9,
            symbol="diamond",
            **hover([_trial_text(t, metric) for t in named]),
        ),
    ]
    shapes, labels = [], []
    if best_untuned is not None and best_untuned.value is not None:
        shape, label = horizontal(best_untuned.value, f"best untuned: {best_untuned.name}")
        shapes, labels = [shape], [label]
    return Figure(
        "crf-history",
        data,
        layout(
            xaxis=axis("trial", rangemode="tozero"),
            yaxis=value_axis(metric),
            shapes=shapes,
            annotations=labels,
            showlegend=True,
        ),
        "Optimisation history",
        f"Value of every completed trial ({study.metric} of the pseudo-labels on val) and the best so far.",
        f"Scatter of {count(len(study.complete), 'completed trial')}; the best reaches {score(max(best_y))}.",
    )


def _importance_figure(importance: dict[str, float], metric: str) -> Figure:
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
            xaxis=axis("share of the importance", range=[0, (max(values) or 1) * 1.15], showline=False, ticks=""),
            yaxis=axis(type="category", showline=False, ticks=""),
            bargap=0.45,
            margin={"l": 110, "r": 24, "t": 6, "b": 40},
        ),
        "Parameter importance",
        f"PED-ANOVA: how much each parameter decides whether a trial is among the best tenth in {metric}.",
        "Bars, most important first: " + ", ".join(f"{name} {v:.2f}" for name, v in importance.items()) + ".",
        height=max(200, 60 + 26 * len(names)),
    )


def _class_figure(study: Study, settings: list[Setting]) -> Figure:
    tuned = next((row for row in settings if row.tuned), None)
    untuned = next((row for row in settings if not row.tuned), None)
    none = next((row for row in settings if row.trial.params.get("iterations") == 0 and row is not untuned), None)
    drawn = [
        (row, colour, symbol)
        for row, colour, symbol in (
            (none if none is not tuned else None, NEUTRAL, "circle-open"),
            (untuned, WARNING, "diamond"),
            (tuned, ACCENT, "circle"),
        )
        if row is not None and row.trial.iou
    ]
    names = list(drawn[0][0].trial.iou) if drawn else []
    labels = [figure_text(name) for name in names]
    data = []
    for row, colour, symbol in drawn:
        values = [row.trial.iou.get(name) for name in names]
        texts = [
            f"{figure_text(row.label)}<br>{label}: IoU {score(v)}" for label, v in zip(labels, values, strict=True)
        ]
        data.append(points(values, labels, row.label, colour, size=11, symbol=symbol, **hover(texts)))
    return Figure(
        "crf-classes",
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
        "Pseudo-labels of the tuned setting, the best untuned one, and no CRF at all.",
        "Points: "
        + "; ".join(
            f"{row.label}: " + ", ".join(f"{name} {score(row.trial.iou.get(name))}" for name in names)
            for row, _, _ in drawn
        )
        + ".",
        height=max(220, 100 + 34 * len(names)),
    )


def _slice(study: Study, name: str) -> Figure:
    metric = figure_text(study.metric)
    unit = PARAMETER_UNITS.get(name)
    title = figure_text(name) + (f" ({unit})" if unit else "")
    with_it = [trial for trial in study.complete if trial.params.get(name) is not None]
    words = any(isinstance(trial.params[name], str) for trial in with_it)
    values = [trial.value or 0.0 for trial in study.complete]
    data = []
    for trials, label, colour, symbol in (
        ([t for t in with_it if not t.name], "searched", ACCENT, "circle"),
        ([t for t in with_it if t.name], "untuned", WARNING, "diamond"),
    ):
        x = [figure_text(t.params[name]) if words else t.params[name] for t in trials]
        texts = [f"{title} {figure_text(parameter(t.params[name]))}<br>{_trial_text(t, metric)}" for t in trials]
        y = [t.value for t in trials]
        data.append(points(x, y, label, colour, symbol=symbol, opacity=0.6, **hover(texts)))
    kind = {"type": "category"} if words else {"type": "log", "dtick": "D2"} if name in study.log_parameters() else {}
    return Figure(
        f"crf-slice-{len(name)}-{_parameters(study).index(name)}",
        data,
        layout(
            xaxis=axis(title, nticks=6, **kind),
            yaxis=value_axis(range=padded(values), nticks=4),
            margin={"l": 40, "r": 10, "t": 6, "b": 40},
        ),
        title,
        "",
        f"{study.metric} of {count(len(with_it), 'trial')} over {name}.",
        height=190,
    )


def gain_sentence(gain: Gain | None, grouped: bool) -> str:
    """The gain with its interval, in words."""
    if gain is None:
        return ""
    text = difference(gain.value)
    if not gain.known:
        return f"{text} (no interval: too few independent tiles)"
    by = "strips" if grouped else "tiles"
    verdict = "" if gain.certain else "; the interval holds 0, so it may be chance"
    return f"{text} (95 % interval {difference(gain.low)} to {difference(gain.high)}, {by} resampled{verdict})"
