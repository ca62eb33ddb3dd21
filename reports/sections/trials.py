"""The table of all trials, and the reasons of those that did not end well."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from objectives.records.study import INTERRUPTED, Study, Trial
from reports.style.formatting import finite, listing, ordered, parameter
from reports.style.study_words import read_off
from reports.style.thinning import listed_trials, thinning_note
from sonarseg.files.plain_text import plain

# States that have a reason
ENDED_EARLY = ("failed", "pruned", INTERRUPTED)
# Rows that are printed: the best ones; paper is no place to scroll
MOST_PRINTED = 120


_FIGURE = re.compile(r"\d+(\.\d+)?")
_TIMES = ("seed", "seconds", "seconds_a_tile")
_TEXTS = ("name", "taken_from", "worker", "device", "reason")


@dataclass(frozen=True)
class TrialRow:
    """A line of the table."""

    trial: Trial
    best: bool
    params: str
    printed: bool = True

    @property
    def remark(self) -> str:
        """Name, retry and reason, as far as there are any."""
        parts = [self.trial.name or ""]
        if self.trial.retry_of is not None:
            parts.append(f"retry of trial {self.trial.retry_of}")
        if self.trial.finished_race:
            parts.append(f"trial {self.trial.derived_from} scored on its remaining tiles")
        elif self.trial.derived_from is not None:
            parts.append(f"trial {self.trial.derived_from} {read_off(self.trial)}")
        if self.trial.taken_from is not None:
            parts.append(f"from {self.trial.taken_from}")
        if self.trial.state in ENDED_EARLY:
            parts.append(self.trial.reason or "no reason was stored")
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class TrialsTable:
    """All trials of one study; its `parameters` are each a column on the screen and share one on paper."""

    study: Study
    rows: list[TrialRow]
    parameters: list[str]
    metrics: list[str]
    reasons: list[tuple[str, str, list[int]]]
    note: str | None

    @property
    def unprinted(self) -> int:
        """Number of listed trials that paper does not show."""
        return sum(not row.printed for row in self.rows)


def trials_table(study: Study, best: Trial | None) -> TrialsTable:
    """Prepare the table of a study, with one trial marked: its metric first, then the other mIoU."""
    listed = listed_trials(study)
    ranked = sorted(listed, key=lambda t: (t.name is None, -(t.value or 0.0), t.number))
    printed = {trial.number for trial in ranked[:MOST_PRINTED]}
    rows = [
        TrialRow(
            trial,
            trial is best,
            ", ".join(f"{name} {parameter(trial.params[name])}" for name in ordered(trial.params)),
            trial.number in printed,
        )
        for trial in listed
    ]
    others = [name for name in ("miou_multiclass", "miou", "miou_paper") if name != study.metric]
    names = ordered(name for trial in listed for name in trial.params)
    return TrialsTable(study, rows, names, [study.metric, *others], _reasons(study), thinning_note(study))


def state_counts(study: Study) -> str:
    """Number of trials in each state that has any, in words; empty without trials."""
    return listing([f"{number} {state}" for state, number in study.counts().items() if number])


def trials_data(table: TrialsTable) -> dict[str, Any]:
    """List all trials of a study, the unlisted too, as columns for the page's script: hover texts and CSV.

    Numbers stay numbers, so that a spreadsheet never sees one as text, and text is one line without
    control characters.
    """
    study = table.study
    names = ordered(name for trial in study.trials for name in trial.params)
    columns = ["trial", "state", *table.metrics, *_TIMES, *names, *_TEXTS]
    rows = []
    for trial in study.trials:
        row = TrialRow(trial, False, "")
        numbers = [finite(value(row, metric, study)) for metric in table.metrics]
        params = [_cell(trial.params.get(name)) for name in names]
        times = (trial.seed, finite(trial.seconds), finite(trial.tile_seconds))
        ending = (*times, *params, trial.name, trial.taken_from, trial.worker, trial.device, trial.reason)
        rows.append([trial.number, trial.state, *numbers, *ending])
    return {
        "columns": columns,
        "rows": rows,
        "parameters": len(names),
        "metric": study.metric,
        "file": f"{study.kind}-trials.csv",
    }


def _cell(found: object) -> str | int | float | None:
    if found is None or isinstance(found, bool | int):
        return found
    return finite(found) if isinstance(found, float) else plain(found)


def value(row: TrialRow, metric: str, study: Study) -> float | None:
    """Find the number in a metric's column; the objective's own value under its name."""
    if metric == study.metric and row.trial.value is not None:
        return row.trial.value
    return row.trial.scores.get(metric)


def _reasons(study: Study) -> list[tuple[str, str, list[int]]]:
    """State, reason and trial numbers of trials that ended early; reasons that differ in figures together."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for trial in study.trials:
        if trial.state in ENDED_EARLY:
            reason = trial.reason or "no reason was stored"
            found[trial.state, _FIGURE.sub("#", reason)].append((trial.number, reason))
    return [
        (state, _example([r for _, r in each]), [n for n, _ in each]) for (state, _), each in found.items()
    ]


def _example(reasons: list[str]) -> str:
    return reasons[0] if len(set(reasons)) == 1 else f"{reasons[0]} (The first of {len(reasons)} alike.)"
