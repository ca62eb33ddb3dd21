"""Scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_METRICS = ("miou", "miou_multiclass", "miou_paper", "fwiou")


def scores_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay scores side by side, one row a thing that was scored.

    Parameters
    ----------
    rows : mapping
        Title to `survey_scores` of the thing.
    """
    table = Table(title_justify="left")
    table.add_column("")
    classes = list(next(iter(rows.values())).get("iou", {})) if rows else []
    for name in _METRICS:
        table.add_column(name, justify="right")
    for name in classes:
        table.add_column(f"iou/{name}", justify="right")
    for title, scores in rows.items():
        values = [scores.get(name) for name in _METRICS] + [scores["iou"].get(name) for name in classes]
        table.add_row(title, *(figure(value) for value in values))
    return table


def figure(value: float | None) -> str:
    """Write a score; a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"
