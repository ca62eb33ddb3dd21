"""The dense CRF study: best parameters beside the untuned ones, history, importance, slices."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from objectives.records import attributes as attr
from objectives.records.ranking import best_of
from objectives.records.study import Study, Trial
from reports.figures.base import Figure
from reports.figures.classes import ClassScores, class_figure
from reports.figures.confusion import ConfusionTable, confusion_table
from reports.figures.crf_history import below_the_floor, history_figure, importance_figure, slice_figure
from reports.figures.crf_map import LEAST_FOR_MAP, map_figure, parallel_figure, places
from reports.figures.intervals import Differences, interval_figure
from reports.figures.iterations import front_figure, quality_figure, time_figure
from reports.figures.tiles import TileScores, tile_scores, tiles_figure
from reports.findings.search_gains import crf_search_gains
from reports.style.formatting import count, ordered
from reports.style.interval_words import scope
from reports.style.palette import ACCENT, NEUTRAL, WARNING
from sonarseg.files.plain_text import plain
from sonarseg.metrics.bootstrap import Interval

# Scores of trials that differ by less are all the same: what they seem to tell of the parameters is chance
LEAST_SPREAD = 0.005
# Below this many completed trials the best tenth that PED-ANOVA looks at is a handful of chance
LEAST_FOR_IMPORTANCE = 20


@dataclass(frozen=True)
class Setting:
    """A row of the comparison: the tuned setting or an untuned one.

    Attributes
    ----------
    ahead : float or None
        By how much the tuned setting is ahead, on the tiles that chose it.
    gain : Interval or None
        Gain of the search over this setting, on strips that did not choose.
    """

    label: str
    trial: Trial
    tuned: bool
    ahead: float | None = None
    gain: Interval | None = None


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
    confusions: list[ConfusionTable]
    notes: list[str]
    search: Interval | None = None

    @property
    def best_untuned(self) -> Trial | None:
        """The untuned setting of the largest value."""
        return best_of(self.untuned)

    @property
    def stragglers(self) -> str:
        """How many trials lie below what history and slices show."""
        return below_the_floor(self.study)

    @property
    def ahead(self) -> float | None:
        """By how much the tuned setting is ahead of the best untuned one, on the tiles that chose it."""
        best = self.best_untuned
        return next((s.ahead for s in self.settings if best is not None and s.trial is best), None)

    @property
    def unfinished(self) -> int:
        """Settings that races stopped, that might matter, and that were not scored whole."""
        finished = self.study.attrs.get(attr.RACE_FINISHED)
        return int(finished.get("left_out", 0)) if isinstance(finished, dict) else 0

    @property
    def search_covers(self) -> str:
        """What the intervals of the search's gain cover, or why there are none."""
        return "" if self.search is None else scope(self.search, "val")


def crf_section(study: Study) -> CrfSection:
    """Prepare the section from the study."""
    untuned = [trial for trial in study.complete if trial.name]
    tuned = best_of([trial for trial in study.complete if not trial.name])
    search, *gains = _search_gains(study, tuned, untuned)
    settings = _settings(study, tuned, untuned, gains)
    parameters = ordered(name for trial in study.complete for name in trial.params)
    figures: list[Figure | None] = []
    notes: list[str] = []
    flat = ""
    if study.complete:
        shown = _compared(settings)
        figures += [history_figure(study, best_of(untuned)), _gain_figure(study, settings)]
        flat = _all_alike(study)
        surface, importance = (None, None) if flat else (map_figure(study), parameter_importance(study))
        figures += [_class_figure(shown), surface]
        figures.append(None if importance is None else importance_figure(importance, study.metric))
        figures += [parallel_figure(study), _tiles_figure(study, shown)]
        figures += [quality_figure(study, tuned, untuned), time_figure(study), front_figure(study)]
        notes = [flat] if flat else _notes(study, surface is None, importance is None)
    slices = [slice_figure(study, name, place) for place, name in enumerate(parameters)]
    return CrfSection(
        study=study,
        tuned=tuned,
        untuned=untuned,
        settings=settings,
        parameters=parameters,
        figures=[figure for figure in figures if figure is not None],
        slices=slices if len(study.complete) > 1 and not flat else [],
        confusions=_confusions(study, settings),
        notes=notes,
        search=search,
    )


def _all_alike(study: Study) -> str:
    """Say why nothing is drawn of the parameters if all completed trials score alike; "" if they do not."""
    values = [trial.value for trial in study.complete if trial.value is not None]
    if len(values) < 2 or (spread := max(values) - min(values)) > LEAST_SPREAD:
        return ""
    return (
        "Parameter importance, the map of sigma_alpha by sigma_beta and the slices are left out: the "
        f"{count(len(values), 'completed trial')} differ by {spread:.4f} in {study.metric} at most. Up to "
        f"{LEAST_SPREAD}, such differences tell nothing of the parameters."
    )


def _notes(study: Study, no_map: bool, no_importance: bool) -> list[str]:
    """Tell what is not drawn, and why."""
    notes = []
    if no_map:
        notes.append(
            f"The map of sigma_alpha by sigma_beta is left out: it needs {LEAST_FOR_MAP} searched trials of "
            "different values."
        )
    if no_importance:
        notes.append(
            f"Parameter importance is left out: it needs {LEAST_FOR_IMPORTANCE} scored trials of "
            f"different values, and there are {len(places(study))}."
        )
    return notes


def parameter_importance(study: Study) -> dict[str, float] | None:
    """Compute the importance of each parameter, largest first; None where too few trials tell it.

    Trials that were ended early count with the estimate on which they were.

    PED-ANOVA, Watanabe et al. (arXiv 2304.10255), as Optuna evaluates it.
    """
    frozen = {trial.number: trial for trial in study.frozen}
    found = [(frozen[place.trial.number], place.value) for place in places(study)]
    scored = [
        create_trial(value=value, params=trial.params, distributions=trial.distributions)
        for trial, value in found
        if _in_range(trial)
    ]
    if len(scored) < LEAST_FOR_IMPORTANCE or len({trial.value for trial in scored}) < 2:
        return None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a copy in memory is no news to anybody
    try:
        copy = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    finally:
        optuna.logging.set_verbosity(verbosity)
    copy.add_trials(scored)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(copy, evaluator=evaluator)


def _in_range(trial: FrozenTrial) -> bool:
    """Tell whether all parameters lie in what is searched; an untuned setting may lie outside it."""
    return all(
        not isinstance(space, FloatDistribution | IntDistribution)
        or space.low <= trial.params[name] <= space.high
        for name, space in trial.distributions.items()
    )


def _search_gains(study: Study, tuned: Trial | None, untuned: list[Trial]) -> list[Interval | None]:
    """Gain of the search over the best untuned setting, then over each of them."""
    if tuned is None or not untuned:
        return [None] * (1 + len(untuned))
    return crf_search_gains(study, [untuned, *([trial] for trial in untuned)])


def _settings(
    study: Study, tuned: Trial | None, untuned: list[Trial], gains: list[Interval | None]
) -> list[Setting]:
    rows = []
    if tuned is not None:
        searched = sum(trial.searched for trial in study.trials)
        rows.append(Setting(f"Tuned, best of {searched} searched", tuned, True))
    for trial, gain in zip(untuned, gains, strict=True):
        ahead = None if tuned is None else (tuned.value or 0.0) - (trial.value or 0.0)
        rows.append(Setting(trial.name or "", trial, False, ahead, gain))
    return sorted(rows, key=lambda row: (-(row.trial.value or 0.0), row.trial.number))


@dataclass(frozen=True)
class _Shown:
    """A setting as the figures of classes and tiles show it."""

    label: str
    colour: str
    symbol: str
    trial: Trial


def _compared(settings: list[Setting]) -> list[_Shown]:
    """No CRF, the best untuned setting and the tuned one, as far as there are such with scores."""
    scored = [row for row in settings if row.trial.iou]
    tuned = next((row for row in scored if row.tuned), None)
    untuned = next((row for row in scored if not row.tuned), None)
    none = next((row for row in scored if not row.tuned and row.trial.params.get("iterations") == 0), None)
    found = []
    if none is not None and none is not untuned:
        found.append(_Shown(none.label, NEUTRAL, "circle-open", none.trial))
    if untuned is not None:
        found.append(_Shown(untuned.label, WARNING, "diamond", untuned.trial))
    if tuned is not None:
        found.append(_Shown("tuned", ACCENT, "circle", tuned.trial))
    return found


def _class_figure(shown: list[_Shown]) -> Figure | None:
    series = [ClassScores(each.label, each.colour, each.symbol, each.trial.iou) for each in shown]
    caption = "Pseudo-labels of the tuned setting beside untuned ones."
    return class_figure("crf-classes", series, caption) if series else None


def _tiles_figure(study: Study, shown: list[_Shown]) -> Figure | None:
    series = [
        TileScores(each.label, each.colour, tile_scores(each.trial.confusions))
        for each in shown
        if each.trial.confusions is not None and len(each.trial.confusions)
    ]
    tiles = [plain(tile) for tile in study.attrs.get(attr.TILES) or []]
    return tiles_figure("crf-tiles", series, tiles) if series else None


def _gain_figure(study: Study, settings: list[Setting]) -> Figure | None:
    gains = [(row.label, row.gain) for row in settings if row.gain is not None and row.gain.known]
    if not gains:
        return None
    return interval_figure(
        "crf-gains",
        [Differences("the search gains", ACCENT, "circle", gains)],
        "What the search gains over each untuned setting",
        "gain, 95 % interval",
        f"Difference of {study.metric} on strips that did not choose, {scope(gains[0][1], 'val')}. If a line "
        "crosses zero, the gain may be chance.",
    )


def _confusions(study: Study, settings: list[Setting]) -> list[ConfusionTable]:
    """What the pseudo-labels confuse, under the best untuned setting and the tuned one."""
    found = [
        confusion_table(each.label, each.colour, study.classes, [each.trial.confusions])
        for each in _compared(settings)
        if each.trial.confusions is not None and each.symbol != "circle-open"
    ]
    return [table for table in found if table is not None]
