"""Scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from studies.commands.terminal.tables import FittingTable

NOT_SCORED = "not scored"
_METRICS = ("miou", "miou_multiclass", "miou_paper", "fwiou")


def scores_table(columns: Mapping[str, Mapping[str, Any]], unscored: Collection[str] = ()) -> FittingTable:
    """Lay scores side by side, one column a thing that was scored.

    Parameters
    ----------
    columns : mapping
        Title to `survey_scores` of the thing.
    unscored : collection of str
        Classes that no mask holds, whatever was predicted.
    """
    rows = [[name, *(figure(scores.get(name)) for scores in columns.values())] for name in _METRICS]
    for name in next(iter(columns.values()))["iou"]:
        values = [None if name in unscored else scores["iou"].get(name) for scores in columns.values()]
        cells = [NOT_SCORED if value is None else figure(value) for value in values]
        rows.append([f"iou/{name}", *cells])
    return FittingTable(["", *columns], rows)


def setting_text(params: Mapping[str, Any]) -> str:
    """Write the parameters of a trial."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
    )


def figure(value: float | None) -> str:
    """Write a score; a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"
