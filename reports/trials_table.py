"""The table of all trials, and the reasons of those that did not end well."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from reports.database import Study, Trial
from reports.formatting import ordered, parameter


@dataclass(frozen=True)
class TrialRow:
    """A line of the table."""

    trial: Trial
    best: bool
    params: str

    @property
    def remark(self) -> str:
        """Name, retry and reason, as far as there are any."""
        parts = [self.trial.name or ""]
        if self.trial.retry_of is not None:
            parts.append(f"retry of trial {self.trial.retry_of}")
        if self.trial.derived_from is not None:
            parts.append(f"trial {self.trial.derived_from} with another number of iterations")
        if self.trial.state in ("failed", "pruned"):
            parts.append(self.trial.reason or "no reason was stored")
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class TrialsTable:
    """All trials of one study."""

    study: Study
    rows: list[TrialRow]
    metrics: list[str]
    reasons: list[tuple[str, str, list[int]]]


def trials_table(study: Study, best: Trial | None) -> TrialsTable:
    """Prepare the table of a study, with one trial marked: its metric first, then the other mIoU."""
    rows = [
        TrialRow(
            trial,
            trial is best,
            ", ".join(f"{name} {parameter(trial.params[name])}" for name in ordered(trial.params)),
        )
        for trial in study.trials
    ]
    others = [name for name in ("miou_multiclass", "miou", "miou_paper") if name != study.metric]
    return TrialsTable(study, rows, [study.metric, *others], _reasons(study))


def value(row: TrialRow, metric: str, study: Study) -> float | None:
    """Find the number in a metric's column; the objective's own value under its name."""
    if metric == study.metric and row.trial.value is not None:
        return row.trial.value
    return row.trial.scores.get(metric)


def _reasons(study: Study) -> list[tuple[str, str, list[int]]]:
    """State, reason and trial numbers of failed and pruned trials; equal reasons together."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for trial in study.trials:
        if trial.state in ("failed", "pruned"):
            found[trial.state, trial.reason or "no reason was stored"].append(trial.number)
    return [(state, reason, numbers) for (state, reason), numbers in found.items()]
