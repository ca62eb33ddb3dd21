"""The cam study: the best maps beside the untuned ones, over equally many seeds, and swapped classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from objectives.records.map_ranking import BestMaps, best_maps, finalists
from objectives.records.ranking import best_untuned
from objectives.records.study import Study, Trial
from reports.figures.confusion import ConfusionTable, confusion_table
from reports.style.formatting import listing, ordered, parameter
from reports.style.palette import ACCENT, NEUTRAL
from sonarseg.metrics.class_swap import swapped_classes


@dataclass(frozen=True)
class MapsRow:
    """A setting of the comparison.

    Attributes
    ----------
    label : str
        Its name, or its first trial.
    trials : tuple of Trial
        Its complete runs that are compared, the first one first.
    mean : float
        Of their values.
    best : bool
        Whether it is the winner.
    setting : str
        Its parameters.
    """

    label: str
    trials: tuple[Trial, ...]
    mean: float
    best: bool
    setting: str


@dataclass(frozen=True)
class CamSection:
    """What the page shows of the cam study.

    Attributes
    ----------
    rows : list of MapsRow
        The settings that got more seeds, the winner first; then named ones that did not.
    untuned : MapsRow or None
        The best named setting, by the mean over as many seeds as the winner has if one got them.
    median : int or None
        Trial whose maps go on.
    swaps : list of str
        A sentence for each trial whose classes have swapped.
    """

    study: Study
    rows: list[MapsRow]
    untuned: MapsRow | None
    median: int | None
    swaps: list[str]
    confusions: tuple[ConfusionTable, ...]

    @property
    def best(self) -> MapsRow | None:
        """The winner."""
        return next((row for row in self.rows if row.best), None)


def cam_section(study: Study) -> CamSection:
    """Prepare the section."""
    best = best_maps(study.frozen)
    runs = 1 if best is None else len(best.runs)
    settings = [BestMaps(tuple(each[:runs])) for each in finalists(study.frozen)]
    untuned = best_untuned(study.frozen)
    if untuned is not None and all(untuned not in each.runs for each in settings):
        settings.append(BestMaps((untuned,)))
    rows = [_row(study, each, each == best) for each in settings]
    rows.sort(key=lambda row: (not row.best, -len(row.trials), -row.mean))
    # The rows are in the order of seeds and means.
    named = next((row for row in rows if row.trials[0].name), None)
    shown = [(row, ACCENT if row.best else NEUTRAL) for row in rows if row.best or row is named]
    tables = [confusion_table(row.label, colour, study.classes, _confusions(row)) for row, colour in shown]
    return CamSection(
        study,
        rows,
        named,
        None if best is None else best.median.number,
        [sentence for trial in study.complete if (sentence := swap_sentence(study, trial)) is not None],
        tuple(table for table in tables if table is not None),
    )


def _row(study: Study, setting: BestMaps, best: bool) -> MapsRow:
    by_number = {trial.number: trial for trial in study.trials}
    first = setting.runs[0]
    return MapsRow(
        by_number[first.number].name or f"trial {first.number}",
        tuple(by_number[run.number] for run in setting.runs),
        setting.mean,
        best,
        _setting(first),
    )


def _setting(trial: FrozenTrial) -> str:
    return ", ".join(f"{name} {parameter(trial.params[name])}" for name in ordered(trial.params))


def _confusions(row: MapsRow) -> list[Any]:
    return [trial.confusions for trial in row.trials if trial.confusions is not None]


def swap_sentence(study: Study, trial: Trial) -> str | None:
    """Say which classes have swapped in the maps of a cam trial; None if none have."""
    if trial.confusions is None:
        return None
    swapped = swapped_classes(trial.confusions)
    if not swapped:
        return None
    names = [f"{study.classes[truth]} is called {study.classes[called]}" for truth, called in swapped.items()]
    return f"In trial {trial.number} classes have swapped: {listing(names)}."
