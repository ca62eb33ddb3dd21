"""The figures that a study shows in Optuna Dashboard: losses, curves, confusion matrix, IoU of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects

from objectives.records import attributes as attr
from objectives.records.study import Study, Trial
from reports.figures.base import FONT, Figure, axis, layout, value_axis
from reports.findings.loss_table import TABLE_METRICS, LossTable
from reports.sections.cam import cam_section
from reports.sections.crf import crf_section
from reports.sections.loss import loss_section
from reports.style.formatting import count, figure_text, score
from reports.style.palette import ACCENT, LOSS_COLOURS, NEUTRAL, WARNING

# Optuna Dashboard gives a figure a card of this height, and the card's width.
HEIGHT = 440
_GRID = "rgba(125,138,148,0.25)"
TABLE_1 = "table-1"
# Of text that stands on white and on the dashboard's black alike: 4.6 and 4.1 to 1 (WCAG 2.2)
TEXT = "#6b7780"
_UNTUNED_COLOURS = (NEUTRAL, WARNING, *list(LOSS_COLOURS.values())[1:3], "#44aa99")


def dashboard_figures(study: Study, workspace: Path) -> dict[str, graph_objects.Figure]:
    """Draw what Optuna Dashboard does not draw itself, by key; nothing while no trial is complete."""
    if study.kind == "cam":
        return _cam_figures(study)
    return _crf_figures(study) if study.kind == "crf" else _loss_figures(study, workspace)


def _cam_figures(study: Study) -> dict[str, graph_objects.Figure]:
    best = cam_section(study).best
    if best is None or any(trial.confusions is None for trial in best.trials):
        return {}
    total = np.sum([_summed(trial) for trial in best.trials], axis=0)
    title = f"Confusion on val, maps of {figure_text(best.label)} ({count(len(best.trials), 'seed')})"
    return {"cam-confusion": confusion_figure(total, study.classes, title)}


def _crf_figures(study: Study) -> dict[str, graph_objects.Figure]:
    section = crf_section(study)
    figures = {f.key: page_figure(f) for f in section.figures if f.key == "crf-classes"}
    best = study.best()
    if best is not None and best.confusions is not None:
        title = f"Confusion on val, best trial ({best.number})"
        figures["crf-confusion"] = confusion_figure(best.confusions.sum(axis=0), study.classes, title)
    curves = [trial for trial in study.frozen if trial.user_attrs.get(attr.CURVE)]
    if curves and best is not None:
        figures["crf-iterations"] = _iterations_figure(study, best)
    return figures


def _loss_figures(study: Study, workspace: Path) -> dict[str, graph_objects.Figure]:
    section = loss_section(study, workspace)
    figures: dict[str, graph_objects.Figure] = {}
    if section.table.rows:
        figures[TABLE_1] = _table_figure(section.table)
    if section.gain_figure is not None:
        figures[section.gain_figure.key] = page_figure(section.gain_figure)
    figures |= {figure.key: page_figure(figure) for figure in section.comparison}
    for curves in section.curves:
        for figure in curves.figures:
            figures[figure.key] = page_figure(figure, f"{curves.row.label}: {figure.title}")
    winner = section.table.winner(study.metric)
    if winner is not None and all(trial.confusions is not None for trial in winner.trials):
        total = np.sum([_summed(trial) for trial in winner.trials], axis=0)
        title = f"Confusion on val, {winner.label} ({count(len(winner.trials), 'seed')})"
        figures["loss-confusion"] = confusion_figure(total, study.classes, title)
    return figures


def page_figure(figure: Figure, title: str = "") -> graph_objects.Figure:
    """Turn a figure of the report into one that stands alone: title and legend inside."""
    drawn = figure.layout
    named = {
        trace["name"]: place
        for place, trace in reversed(list(enumerate(figure.data)))
        if trace.get("name") and trace.get("showlegend") is not False
    }
    data = [{**trace, "showlegend": place in named.values()} for place, trace in enumerate(figure.data)]
    return _figure(data, drawn, title or figure.title, legend=len(named) > 1)


def _figure(data: list[Any], drawn: dict[str, Any], title: str, legend: bool = False) -> graph_objects.Figure:
    margin = {"l": 60, "r": 20, **drawn.get("margin", {}), "t": 60, "b": 110 if legend else 50}
    # On the page its style sheet softens the grid; here the figure has to.
    axes = {name: {**drawn[name], "gridcolor": _GRID} for name in drawn if name[1:5] == "axis"}
    return graph_objects.Figure(
        data=data,
        layout={
            **drawn,
            **axes,
            "font": {**drawn.get("font", {}), "color": TEXT},
            "template": {"layout": {}},
            "title": {"text": figure_text(title), "font": {"size": 15}, "x": 0.01, "xanchor": "left"},
            "margin": margin,
            "height": HEIGHT,
            "showlegend": legend,
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        },
    )


def confusion_figure(total: NDArray[np.int64], classes: list[str], title: str) -> graph_objects.Figure:
    """Draw a confusion matrix, int (K, K), each true class as shares of its own pixels."""
    pixels = total.sum(axis=1, keepdims=True)
    shares = np.divide(total, pixels, out=np.zeros(total.shape), where=pixels > 0)
    names = [figure_text(name) for name in classes]
    texts = [[f"{share:.2f}" for share in row] for row in shares]
    heatmap = {
        "type": "heatmap",
        "z": shares.round(4).tolist(),
        "x": names,
        "y": names,
        "text": texts,
        "texttemplate": "%{text}",
        "hovertemplate": "true %{y}, predicted %{x}: %{text}<extra></extra>",
        "colorscale": [[0, "#eef5f8"], [1, ACCENT]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    drawn = layout(
        xaxis=axis("predicted", type="category", showline=False, ticks=""),
        yaxis=axis("true class", type="category", autorange="reversed", showline=False, ticks=""),
    )
    return _figure([heatmap], drawn, title)


def _iterations_figure(study: Study, best: Trial) -> graph_objects.Figure:
    """Draw the score after every mean-field iteration, the best setting and the untuned ones."""
    data: list[dict[str, Any]] = []
    for trial, frozen in zip(study.trials, study.frozen, strict=True):
        curve = frozen.user_attrs.get(attr.CURVE)
        chosen = trial.number == best.number
        # The first point of every curve is the map without a CRF.
        untuned = trial.name and trial.params.get("iterations") != 0
        if not curve or not (untuned or chosen):
            continue
        colour = _UNTUNED_COLOURS[len(data) % len(_UNTUNED_COLOURS)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": list(range(len(curve))),
                "y": curve,
                "name": figure_text(f"trial {trial.number}" + (f", {trial.name}" if trial.name else "")),
                "line": {"color": ACCENT, "width": 3} if chosen else {"color": colour, "width": 1.5},
                "marker": {"size": 6 if chosen else 4},
            }
        )
    drawn = layout(xaxis=axis("mean-field iterations", dtick=1), yaxis=value_axis(figure_text(study.metric)))
    return _figure(data, drawn, "Score after every iteration", legend=True)


def _table_figure(table: LossTable) -> graph_objects.Figure:
    """Draw the table of the losses in their best settings."""
    columns = [
        ["loss", *(figure_text(name) for name in TABLE_METRICS), "setting", "trials"],
        [
            [figure_text(row.label) for row in table.rows],
            *([score(row.means.get(name)) for row in table.rows] for name in TABLE_METRICS),
            [figure_text(row.setting) for row in table.rows],
            [", ".join(str(trial.number) for trial in row.trials) for row in table.rows],
        ],
    ]
    style = {"font": {"family": FONT, "size": 13, "color": TEXT}, "fill": {"color": "rgba(0,0,0,0)"}}
    lines = {"line": {"color": "rgba(125,138,148,0.35)"}, "height": 30}
    align = ["left", "right", "right", "right", "left", "left"]
    drawn = {
        "type": "table",
        "columnwidth": [3, 2, 1.5, 2.5, 3, 1.5],
        "header": {"values": columns[0], "align": align, **style, **lines},
        "cells": {"values": columns[1], "align": align, **style, **lines},
    }
    title = f"Each loss in its best setting, mean over {count(table.seeds, 'seed')}, on val"
    return _figure([drawn], layout(margin={"l": 10, "r": 10, "b": 10}), title)


def _summed(trial: Trial) -> NDArray[np.int64]:
    if trial.confusions is None:
        raise ValueError(f"trial {trial.number} holds no confusion matrices")
    summed: NDArray[np.int64] = trial.confusions.sum(axis=0)
    return summed
