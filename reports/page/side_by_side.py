"""Several workspaces in one page: what each reached, and whether their numbers may be compared."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from objectives.records import attributes as attr
from objectives.records.read import read_studies
from objectives.records.study import Study, Trial
from reports.figures.base import Figure, axis, layout, line, padded, value_axis, whole_ticks
from reports.figures.classes import ClassScores, class_figure
from reports.findings.loss_table import mean_score
from reports.sections.crf import CrfSection, crf_section
from reports.sections.loss import LossSection, loss_section
from reports.style.formatting import count, difference, figure_text, listing, ordered, score, seconds
from reports.style.palette import series_colour
from reports.style.study_words import progress
from sonarseg.errors import UserError
from sonarseg.files.plain_text import plain

_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "circle-open")


@dataclass(frozen=True)
class Side:
    """One workspace of the page.

    Attributes
    ----------
    label : str
        Its name, made different from the others'.
    studies : dict
        As `read_studies` gives them.
    """

    label: str
    colour: str
    symbol: str
    crf: CrfSection | None
    loss: LossSection | None
    studies: dict[str, Study]

    @property
    def _first(self) -> Study | None:
        return next(iter(self.studies.values()), None)

    @property
    def survey(self) -> dict[str, object]:
        """Name, fingerprint, classes and tile counts of the survey."""
        return {} if self._first is None else self._first.survey

    @property
    def metric(self) -> str:
        """Name of the metric that its studies maximise."""
        return "–" if self._first is None else self._first.metric

    @property
    def tiles(self) -> list[str]:
        """Tiles that the scores are counted over."""
        first = self._first
        return [] if first is None else [plain(tile) for tile in first.attrs.get(attr.TILES) or []]

    @property
    def trials(self) -> str:
        """Number of completed trials of each study."""
        return " · ".join(progress(study) for study in self.studies.values())

    @property
    def hours(self) -> str:
        """Time of all trials."""
        return seconds(sum(t.seconds or 0.0 for s in self.studies.values() for t in s.trials))

    @property
    def best_crf(self) -> Trial | None:
        """The best completed crf trial, tuned or not."""
        return None if self.crf is None else self.crf.study.best()


@dataclass(frozen=True)
class SideBySide:
    """What the page shows."""

    sides: list[Side]
    sentences: list[str]
    comparable: bool
    parameters: list[str]
    figures: list[Figure]


def read_sides(workspaces: list[Path]) -> list[Side]:
    """Read the studies of several workspaces.

    Raises
    ------
    UserError
        Where a database cannot be read, or a workspace is named twice.
    """
    resolved = [workspace.resolve() for workspace in workspaces]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path in resolved if resolved.count(path) > 1)
        raise UserError(f"{twice} is named twice: name different workspaces to lay side by side.")
    sides = []
    for place, workspace in enumerate(workspaces):
        studies = read_studies(workspace)
        sides.append(
            Side(
                _label(resolved, place),
                series_colour(place),
                _SYMBOLS[place % len(_SYMBOLS)],
                crf_section(studies["crf"]) if "crf" in studies else None,
                loss_section(studies["loss"], workspace) if "loss" in studies else None,
                studies,
            )
        )
    return sides


def _label(paths: list[Path], place: int) -> str:
    """Name a workspace by its folder, with as many parents as tell it from the others."""
    parts = paths[place].parts
    for length in range(1, len(parts) + 1):
        tail = parts[-length:]
        if sum(path.parts[-length:] == tail for path in paths) == 1:
            return plain("/".join(tail))
    return plain(paths[place])


def side_by_side(sides: list[Side]) -> SideBySide:
    """Prepare the page of two workspaces or more."""
    comparable, why = same_ground(sides)
    best = [(side, side.best_crf) for side in sides]
    names = ordered(name for _, trial in best if trial is not None for name in trial.params)
    figures = [_history(sides, comparable), _classes(best)]
    return SideBySide(
        sides,
        [why, *_verdicts(sides, comparable)],
        comparable,
        names,
        [figure for figure in figures if figure is not None],
    )


def same_ground(sides: list[Side]) -> tuple[bool, str]:
    """Tell whether scores may be compared: the same survey, tiles and metric."""
    fingerprints = {str(side.survey.get("fingerprint")) for side in sides}
    known = all(side.survey.get("fingerprint") for side in sides)
    if not known:
        return (
            False,
            "The survey of some study is not known, so its scores cannot be compared with the others.",
        )
    if len(fingerprints) > 1:
        names = listing([f"{side.label} on {plain(side.survey.get('name'))}" for side in sides])
        return False, (
            f"These studies are on different surveys ({names}): compare gains, not scores; a higher score "
            "may only mean an easier survey."
        )
    if len({tuple(side.tiles) for side in sides}) > 1:
        return False, "The same survey, but scored on different tiles: compare gains, not scores."
    if len({side.metric for side in sides}) > 1:
        metrics = listing(list(dict.fromkeys(side.metric for side in sides)))
        return False, f"The same survey and tiles, but tuned for different metrics: {metrics}."
    tiles = count(len(sides[0].tiles), "tile")
    return True, f"The same survey, scored on the same {tiles} of val: scores may be compared one to one."


def _verdicts(sides: list[Side], comparable: bool) -> list[str]:
    if not comparable:
        return []
    crf = [(side, [trial]) for side in sides if (trial := side.best_crf) is not None]
    loss = [
        (side, winner.trials)
        for side in sides
        if side.loss is not None and (winner := side.loss.table.winner(side.metric)) is not None
    ]
    return _verdict(crf, "pseudo-labels") + _verdict(loss, "networks")


def _verdict(found: list[tuple[Side, list[Trial]]], what: str) -> list[str]:
    """Compare the best with the next, on the same tiles, over equally many runs."""
    if len(found) < 2:
        return []
    runs = min(len(trials) for _, trials in found)
    uneven = any(len(trials) > runs for _, trials in found)
    equal = [(side, trials[:runs]) for side, trials in found]
    means = [(side, _mean_value(trials, side.metric)) for side, trials in equal]
    (first, value), (second, other) = sorted(means, key=lambda f: -f[1])[:2]
    number = count(runs, "run")
    over = f" over {number} of each, since not all have more" if uneven else ""
    if score(value) == score(other):
        both = f"{first.label} and {second.label}"
        return [f"The best {what} of {both} reach the same {first.metric}, {score(value)}{over}."]
    return [
        f"The best {what} are those of {first.label} with {first.metric} {score(value)}{over}; the next, "
        f"{second.label}, reach {score(other)}: {difference(value - other)} on the tiles that chose both, "
        "which is no evidence; `sonarseg confirm --split test` in each workspace measures unseen tiles."
    ]


def _mean_value(trials: list[Trial], metric: str) -> float:
    """Mean score of some runs; of trials without scores, of their values."""
    found = mean_score(trials, metric)
    return statistics.fmean(trial.value or 0.0 for trial in trials) if found is None else found


def _history(sides: list[Side], comparable: bool) -> Figure | None:
    """Draw the best so far; of other surveys as the gain, which alone may be compared."""
    data = []
    reached = []
    for side in sides:
        if side.crf is None or not side.crf.study.complete:
            continue
        untuned = side.crf.best_untuned
        start = 0.0 if comparable or untuned is None else untuned.value or 0.0
        best: list[float] = []
        for trial in side.crf.study.complete:
            best.append(max([(trial.value or 0.0) - start, *best[-1:]]))
        numbers = [trial.number for trial in side.crf.study.complete]
        data.append(line(numbers, best, side.label, side.colour, shape="hv"))
        reached += best
    if not data:
        return None
    return Figure(
        "sides-history",
        data,
        layout(
            xaxis=axis("trial", rangemode="tozero", **whole_ticks(0, max(max(trace["x"]) for trace in data))),
            yaxis=value_axis("best so far" if comparable else "gain so far", range=padded(reached)),
        ),
        "Best pseudo-labels so far" if comparable else "Gain of the pseudo-labels so far",
        "The best value of the crf study after each completed trial"
        + ("." if comparable else ", less that of its best untuned setting."),
        "Lines: "
        + "; ".join(f"{side.label} {score(t.value)}" for side in sides if (t := side.best_crf))
        + ".",
    )


def _classes(best: list[tuple[Side, Trial | None]]) -> Figure | None:
    scored = [(side, trial) for side, trial in best if trial is not None and trial.iou]
    if not scored or len({tuple(trial.iou) for _, trial in scored}) > 1:
        return None
    series = [
        ClassScores(figure_text(side.label), side.colour, side.symbol, trial.iou) for side, trial in scored
    ]
    return class_figure("sides-classes", series, "Best pseudo-labels of each study, over all val tiles.")
