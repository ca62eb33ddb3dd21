"""The tables of an export: trials, epochs, tiles and confirmed results, a row each, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from objectives.records import attributes as attr
from objectives.records.study import Study, Trial
from reports.findings.confirmed import confirmed
from reports.findings.epochs import read_trial
from reports.style.formatting import ordered
from reports.style.interval_words import scope
from sonarseg.files.csv_cells import END_OF_LINE, inert
from sonarseg.files.plain_text import plain
from sonarseg.metrics.iou import METRICS, miou


def export_tables(studies: dict[str, Study], workspace: Path) -> dict[str, pd.DataFrame]:
    """Make every table that has a row, by the name of its file.

    Parameters
    ----------
    studies : dict
        "crf" and "loss", where they exist.
    workspace : Path
        Where the runs left their curves.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for kind, study in studies.items():
        tables[f"{kind}_trials"] = [_trial_row(study, trial) for trial in study.trials]
        tables[f"{kind}_tiles"] = list(_tile_rows(study))
    if "loss" in studies:
        tables["loss_epochs"] = list(_epoch_rows(studies["loss"], workspace))
    tables["confirmed"] = [row for study in studies.values() for row in _confirmed_rows(study)]
    return {name: pd.DataFrame(rows).convert_dtypes() for name, rows in tables.items() if rows}


def inert_csv(table: pd.DataFrame) -> str:
    """Write a table as CSV in which no cell is a formula: such text gets an apostrophe in front."""
    safe = table.map(inert)
    safe.columns = pd.Index([inert(name) for name in table.columns])
    return safe.to_csv(index=False, lineterminator=END_OF_LINE)


def _trial_row(study: Study, trial: Trial) -> dict[str, Any]:
    names = ordered({name for each in study.trials for name in each.params})
    return {
        "trial": trial.number,
        "state": trial.state,
        study.metric: trial.value if trial.value is not None else trial.scores.get(study.metric),
        **{name: trial.scores.get(name) for name in METRICS if name != study.metric},
        **{f"iou/{name}": trial.iou.get(name) for name in study.classes},
        **{f"param/{plain(name)}": _value(trial.params.get(name)) for name in names},
        "name": trial.name,
        "seed": trial.seed,
        "seconds": trial.seconds,
        "seconds_a_tile": trial.tile_seconds,
        "started": None if trial.started is None else trial.started.isoformat(),
        "run": None if trial.run is None else plain(trial.run),
        "retry_of": trial.retry_of,
        "derived_from": trial.derived_from,
        "finished_race": trial.finished_race,
        "taken_from": trial.taken_from,
        "worker": trial.worker,
        "device": trial.device,
        "reason": trial.reason,
    }


def _value(value: object) -> object:
    return value if value is None or isinstance(value, int | float) else plain(value)


def _tile_rows(study: Study) -> Iterator[dict[str, Any]]:
    """List the mIoU of every tile in every complete trial, as far as the trials tell."""
    tiles = [plain(tile) for tile in study.attrs.get(attr.TILES) or []]
    groups = study.groups or [None] * len(tiles)
    for trial in study.complete:
        if trial.confusions is None or len(trial.confusions) != len(tiles):
            continue
        for tile, group, confusion in zip(tiles, groups, trial.confusions, strict=True):
            yield {
                "trial": trial.number,
                "tile": tile,
                "strip": None if group is None else plain(group),
                "miou": miou(confusion[None]),
                "classes": int((confusion.sum(axis=1) > 0).sum()),
                "pixels": int(confusion.sum()),
            }


def _epoch_rows(study: Study, workspace: Path) -> Iterator[dict[str, Any]]:
    """List the curves of every trial's run, the shared warm-up first."""
    for trial in study.trials:
        # What was read off a run has no epochs of its own.
        curve = read_trial(workspace, trial, study.metric) if trial.derived_from is None else None
        if curve is None:
            continue
        for place, (epoch, number) in enumerate(zip(curve.epochs, curve.rounds, strict=True)):
            measures = {name: values[place] for name, values in curve.values.items()}
            yield {"trial": trial.number, "epoch": epoch, "round": number, **measures}


def _confirmed_rows(study: Study) -> Iterator[dict[str, Any]]:
    again = confirmed(study)
    for row in [] if again is None else again.rows:
        yield {
            "study": study.kind,
            "split": row.split,
            "metric": row.metric,
            "winner": row.winner,
            "baseline": row.baseline,
            "difference": _defined(row.gain.value),
            "low": _defined(row.gain.low),
            "high": _defined(row.gain.high),
            "covers": scope(row.gain, row.split),
            "pairs": max(1, row.gain.seeds),
            "winner_name": again.winner if again else "",
            "baseline_name": again.baseline if again else "",
        }


def _defined(number: float) -> float | None:
    return None if math.isnan(number) else number
