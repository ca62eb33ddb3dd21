"""Who won a study: the highest value, or mean over equal seeds; of equals, the earlier trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.trial import is_branch_alone, is_named, objective_value
from sonarseg.metrics.compared_runs import ComparedRow, Run, compare_rows

LOSSES = ("cross-entropy", "focal", "lovasz_softmax")
# A focal loss, and a loss of its own where losses are compared: the baseline's
WEIGHTED = "class-weighted cross-entropy"


class Scored(Protocol):
    """A trial with its objective value; None if it has none."""

    @property
    def number(self) -> int:
        """Number in the study."""

    @property
    def value(self) -> float | None:
        """The objective value, higher is better."""


Found = TypeVar("Found", bound=Scored)


@dataclass(frozen=True)
class LossRanking:
    """The chosen setting of every loss, each judged by runs of the same seeds.

    Attributes
    ----------
    seeds : int
        Runs behind every mean.
    rows : dict
        The chosen setting of each loss that has a complete trial, the winner first; class-weighted
        cross-entropy is a loss of its own. Settings with fewer runs than the others come last.
    """

    seeds: int
    rows: dict[str, ComparedRow]


def rank(value: float, number: int) -> tuple[float, int]:
    """Sort key of a value, or mean, whose (first) trial has this number: the best comes first."""
    return -value, number


def best_of(trials: Iterable[Found]) -> Found | None:
    """Find the trial of the largest value, the earliest of equals; None if none has a value."""
    scored = [(rank(trial.value, trial.number), trial) for trial in trials if trial.value is not None]
    return min(scored, key=lambda each: each[0])[1] if scored else None


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Find the complete trial of the largest value, the earliest of equals; None if none is complete."""
    return min(_complete(trials), key=lambda trial: rank(objective_value(trial), trial.number), default=None)


def best_untuned(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Find the best named setting: the opponent that is hardest to beat."""
    return best_trial(filter(is_named, trials))


def rank_losses(trials: Iterable[FrozenTrial]) -> LossRanking:
    """Compare losses by the mean over equal numbers of seeds that chose nothing.

    See `sonarseg.metrics.compared_runs.compare_rows`.

    Parameters
    ----------
    trials : iterable of FrozenTrial
        Trials of a loss study in any state.
    """
    complete = _complete(trials)
    named = {trial.number for trial in complete if trial.user_attrs.get(attr.NAME) == WEIGHTED}
    weighted = {_setting(trial) for trial in complete if named & {trial.number, _source(trial)}}
    wholes = {trial.number: _setting(trial) for trial in complete}
    comparison = compare_rows([_run(trial, weighted, wholes.get(_source(trial))) for trial in complete])

    def place(row: ComparedRow) -> tuple[bool, tuple[float, int]]:
        return not row.compared, rank(row.mean, row.all_runs[0].number)

    ranked = sorted(comparison.rows.items(), key=lambda item: place(item[1]))
    return LossRanking(comparison.seeds, dict(ranked))


def best_loss_run(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Find the first run of the winning setting, not the luckiest of its seeds; None without a winner."""
    for row in rank_losses(trials).rows.values():
        return next(trial for trial in trials if trial.number == row.all_runs[0].number)
    return None


def first_choices(trials: Iterable[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Choose of each loss the setting whose first run was the best one, and give its complete runs.

    These get more seeds. Only first runs are looked at, so the choice does not move while the
    repetitions come in. If the first rounds of a run are best, its runs are given.
    """
    complete = _complete(trials)
    by_number = {trial.number: trial for trial in complete}
    settings: dict[tuple[str, str], list[FrozenTrial]] = defaultdict(list)
    for trial in complete:
        settings[trial.params["loss"], _setting(trial)].append(trial)
    chosen = []
    for loss in LOSSES:
        if first := best_trial(runs[0] for (of_loss, _), runs in settings.items() if of_loss == loss):
            chosen.append(settings[loss, _setting(by_number.get(_source(first), first))])
    return chosen


def _complete(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    complete = (t for t in trials if t.state == TrialState.COMPLETE and not is_branch_alone(t.params))
    return sorted(complete, key=lambda trial: trial.number)


def _source(trial: FrozenTrial) -> int:
    """Number of the trial that it was read off; its own if it ran itself."""
    return int(trial.user_attrs.get(attr.DERIVED, trial.number))


def _setting(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(attr.SETTING) or sorted(trial.params.items()))


def _run(trial: FrozenTrial, weighted: set[str], whole: str | None) -> Run:
    loss, setting, seed = str(trial.params.get("loss", "")), _setting(trial), trial.user_attrs.get(attr.SEED)
    row = WEIGHTED if setting in weighted else loss
    return Run(trial.number, loss, row, setting, seed, objective_value(trial), whole)
