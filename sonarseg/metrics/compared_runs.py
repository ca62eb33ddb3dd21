"""Which runs stand behind the mean of each loss: equally many, of the same seeds, none that made a choice.

A setting that was chosen because its first run was lucky keeps that luck in its mean. So the first run
chooses, and the mean is taken over the seeds that chose nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """A finished run of a loss study.

    Attributes
    ----------
    number : int
        Number of its trial.
    loss : str
        The loss, whatever its parameters.
    row : str
        What is compared; a loss may have several rows (class-weighted cross-entropy is a focal loss).
    setting : str
        Canonical text of the loss and its parameters, without the seed.
    seed : int or None
        Random seed; None if it is not known.
    value : float
        The study's metric.
    whole : str or None
        Setting of the whole run, if this is only the first rounds of one.
    """

    number: int
    loss: str
    row: str
    setting: str
    seed: int | None
    value: float
    whole: str | None = None


@dataclass(frozen=True)
class ComparedRow:
    """The chosen setting of a row.

    Attributes
    ----------
    runs : tuple of Run
        Runs behind the mean, in the order of their seeds.
    all_runs : tuple of Run
        All runs of the chosen setting, in the order of their trials.
    tried : int
        Settings of this row.
    compared : bool
        Whether it has as many runs as the others; if not it cannot win.
    fixed : bool
        Whether all settings are rounds of the same runs: no scores had a part in what was tried.
    """

    runs: tuple[Run, ...]
    all_runs: tuple[Run, ...]
    tried: int
    compared: bool
    fixed: bool

    @property
    def mean(self) -> float:
        """Mean value of the runs that are compared."""
        return sum(run.value for run in self.runs) / len(self.runs)


@dataclass(frozen=True)
class Comparison:
    """Rows by key, and the number of runs behind each mean."""

    rows: dict[str, ComparedRow]
    seeds: int


def compare_rows(runs: Sequence[Run]) -> Comparison:
    """Choose the setting of every row and the runs behind its mean.

    Of each row the setting with the best first run is chosen, among those with as many runs as every
    loss can offer. If any row had a choice, the seeds of the runs that chose are left out of all means,
    unless no other seed is common to all rows.
    """
    ordered = sorted(runs, key=lambda run: run.number)
    settings: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    most: dict[str, int] = defaultdict(int)
    for run in ordered:
        of_setting = settings[run.row][run.setting]
        of_setting.append(run)
        most[run.loss] = max(most[run.loss], len(of_setting))
    needed = min(most.values(), default=0)
    chosen: dict[str, list[Run]] = {}
    for row, found in settings.items():
        enough = [each for each in found.values() if len(each) >= needed]
        chosen[row] = max(enough or found.values(), key=lambda each: each[0].value)
    even = {row: each for row, each in chosen.items() if len(each) >= needed}
    choosers = {each[0].seed for row, each in even.items() if len(settings[row]) > 1}
    seeds = _common_seeds(list(even.values()), choosers)
    rows = {
        row: ComparedRow(
            _of_seeds(each, seeds) if row in even else tuple(each),
            tuple(each),
            len(settings[row]),
            row in even,
            len({run.whole or run.setting for runs in settings[row].values() for run in runs}) == 1,
        )
        for row, each in chosen.items()
    }
    return Comparison(rows, max(len(seeds), min(1, len(rows))))


def _common_seeds(rows: Sequence[Sequence[Run]], choosers: set[int | None]) -> list[int | None]:
    """Seeds that all rows have, without those that chose; those too if nothing else is left."""
    if not rows:
        return []
    common = [run.seed for run in rows[0] if all(any(r.seed == run.seed for r in row) for row in rows)]
    common = list(dict.fromkeys(common))
    return [seed for seed in common if seed not in choosers] or common


def _of_seeds(runs: Sequence[Run], seeds: Sequence[int | None]) -> tuple[Run, ...]:
    """Run of each seed, the first if a seed was used twice; of no common seed, the first run."""
    by_seed = {run.seed: run for run in reversed(runs)}
    return tuple(by_seed[seed] for seed in seeds) or tuple(runs[:1])
