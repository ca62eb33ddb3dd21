"""Whether the result is of use: one sentence, said first wherever results are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reports.confirmed import ATTRIBUTE, confirmed
from reports.curves import read_run
from reports.formatting import count, difference, listing, percent, plain, score
from reports.loss_table import LossRow, loss_table
from reports.study_records import Study, Trial
from sonarseg.metrics.bootstrap import FEWEST_SEEDS, Interval, paired_interval
from sonarseg.metrics.guesses import best_constant_guess, random_guess
from sonarseg.metrics.scores import METRICS

Kind = Literal[
    "no model yet", "not scored", "no better than guessing", "weak", "usable, not confirmed", "usable"
]
Weakness = Literal["not scored", "pseudo-labels", "training loss"]
USABLE: tuple[Kind, ...] = ("usable, not confirmed", "usable")
# If the strips give no interval, a model must be better than the guess by so much.
MARGIN = 0.05
# A training loss that falls by more than this share over so many epochs has not settled.
SETTLED, LAST_EPOCHS = 0.02, 3


@dataclass(frozen=True)
class Verdict:
    """What the winner of the loss study is worth.

    Attributes
    ----------
    kind : str
    sentence : str
        The kind, and the figures behind it.
    figures : dict
        The same for a program: `metric`, `model`, `guess`, `guess_class` (None for a random guess),
        `low` and `high` (interval of model - guess), `strips`, `seeds`, `model_shown` (restricted to the
        classes of each tile's labels), `pseudo_labels`, `loss_fell`, `unscored` and `weak` (what makes it
        weak). A figure that is not known is None; without a scored model there are none.
    """

    kind: Kind
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether it is worth confirming or using."""
        return self.kind in USABLE

    @property
    def weaknesses(self) -> tuple[Weakness, ...]:
        """What makes it weak."""
        return tuple(self.figures.get("weak", ()))


def verdict(studies: Mapping[str, Study], workspace: Path) -> Verdict:
    """Judge the winner of the loss study by its runs on val.

    Parameters
    ----------
    studies : mapping
        "crf" and "loss", as far as they exist.
    workspace : Path
        Where the runs lie.
    """
    if any(study.untuned and not study.complete for study in studies.values()):
        return Verdict("not scored", "Not scored: val has no masks.")
    study = studies.get("loss")
    row = None if study is None else loss_table(study).winner(study.metric)
    if study is None or row is None:
        return Verdict("no model yet", "No model yet: no run of the loss study is complete.")
    runs = _stacked([trial.confusions for trial in row.trials])
    if runs is None or study.metric not in METRICS:
        why = f"the study holds no confusion matrices of {row.label}"
        return Verdict("not scored", f"Not scored: {why}, so nothing tells it from a guess.")
    return _judged(study, studies.get("crf"), row, runs, workspace)


@dataclass(frozen=True)
class _Guess:
    """The better of two guesses on the same tiles, and how far the model lies above it.

    The guesses are the best constant one, and a random one that names each class as often as the model;
    `name` is the class of a constant guess.
    """

    name: str | None
    value: float
    gain: Interval
    runs: int

    def beaten(self, model: float) -> bool:
        """Whether the model is better for sure; without an interval, by a margin."""
        return self.gain.low > 0 if self.gain.known else model >= self.value + MARGIN

    def sentence(self) -> str:
        """Name the guess, its score and the interval of the difference."""
        if self.name is None:
            guess = "guessing at random, each class as often as the model predicts it, reaches"
        else:
            guess = f"the best constant guess ({self.name} everywhere) reaches"
        return f"{guess} {score(self.value)}{self._interval()}"

    def _interval(self) -> str:
        if self.gain.known:
            over = count(self.gain.strips, "strip")
            if self.runs > 1:
                over += f", {self.runs} seeds" if self.gain.seeds else f", first of {self.runs} seeds"
            ends = f"{difference(self.gain.low)} to {difference(self.gain.high)}"
            return f", 95 % interval of the difference {ends} ({over})"
        if self.gain.missing == "no strips":
            why = "the survey tells no strips"
        elif self.gain.missing == "too few strips":
            why = f"{count(self.gain.strips, 'strip')} {'is' if self.gain.strips == 1 else 'are'} too few"
        else:
            why = "it is undefined"
        return f" (no interval: {why}, so a model must be better by {score(MARGIN)})"


def _judged(
    study: Study, crf: Study | None, row: LossRow, runs: NDArray[np.int64], workspace: Path
) -> Verdict:
    metric = study.metric
    model = _mean_score(runs, metric)
    guess = _guess(study, runs)
    shown, pseudo_labels = _beside_pseudo_labels(study, crf, row, runs)
    fell = _loss_fall(workspace, row.trials[0])
    unscored = [plain(name) for name in study.attrs.get("unscored") or []]
    weak = _weaknesses(shown, pseudo_labels, fell, unscored)
    figures: dict[str, Any] = {
        "metric": metric,
        "model": model,
        "guess": guess.value,
        "guess_class": guess.name,
        "low": guess.gain.low if guess.gain.known else None,
        "high": guess.gain.high if guess.gain.known else None,
        "strips": guess.gain.strips,
        "seeds": len(runs),
        "model_shown": shown,
        "pseudo_labels": pseudo_labels,
        "loss_fell": fell,
        "unscored": unscored,
        "weak": list(weak),
    }
    reached = f"{metric} {score(model)} on val; {guess.sentence()}"
    if not guess.beaten(model):
        return Verdict("no better than guessing", f"No better than guessing: {reached}.", figures)
    if weak:
        return Verdict("weak", f"Weak: {'; '.join(weak.values())}. It reaches {reached}.", figures)
    if not _confirmed_on_test(study, row):
        unseen = "It has not been measured on test."
        return Verdict("usable, not confirmed", f"Usable, not confirmed: {reached}. {unseen}", figures)
    return Verdict("usable", f"Usable: {reached}. It was confirmed on test.", figures)


def _weaknesses(
    shown: float | None, pseudo_labels: float | None, fell: float | None, unscored: list[str]
) -> dict[Weakness, str]:
    found: dict[Weakness, str] = {}
    if unscored:
        are = "is" if len(unscored) == 1 else "are"
        found["not scored"] = (
            f"{listing(unscored)} {are} in the labels of val but in none of its masks: not scored"
        )
    if shown is not None and pseudo_labels is not None and shown < pseudo_labels:
        found["pseudo-labels"] = (
            f"restricted to the classes of each tile's labels, the model reaches {score(shown)}, less than "
            f"the pseudo-labels that it learned from ({score(pseudo_labels)})"
        )
    if fell is not None and fell > SETTLED:
        found["training loss"] = (
            f"the training loss still fell by {percent(fell)} % over the last {LAST_EPOCHS} epochs"
        )
    return found


def _guess(study: Study, runs: NDArray[np.int64]) -> _Guess:
    metric = study.metric
    guessed, counts = best_constant_guess(runs[0], metric)
    name = study.classes[guessed] if guessed < len(study.classes) else f"class {guessed}"
    constant, random = np.stack([counts] * len(runs)), np.stack([random_guess(run) for run in runs])
    by_chance = _mean_score(random, metric) > _mean_score(constant, metric)
    floor = random if by_chance else constant
    # Two seeds do not tell how far seeds spread.
    used = len(runs) if len(runs) >= FEWEST_SEEDS else 1
    groups = study.groups
    if groups is not None and len(groups) != runs.shape[1]:
        groups = None
    strips = None if groups is None else tuple(groups)
    gain = _lead(runs[:used].tobytes(), floor[:used].tobytes(), runs[:used].shape, metric, strips)
    return _Guess(None if by_chance else name, _mean_score(floor, metric), gain, len(runs))


@lru_cache(maxsize=2)
def _lead(
    runs: bytes, floor: bytes, shape: tuple[int, ...], metric: str, groups: tuple[str | None, ...] | None
) -> Interval:
    """Interval of runs - floor, int64 (R, T, K, K); kept, as `status --watch` asks for it every time."""
    first, second = (np.frombuffer(counts, dtype=np.int64).reshape(shape) for counts in (runs, floor))
    return paired_interval(first, second, metric, groups=groups, seeds=len(first) > 1)


def _beside_pseudo_labels(
    study: Study, crf: Study | None, row: LossRow, runs: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Scores of the model restricted to the labels, and of the pseudo-labels that it started from.

    Both know the classes of each tile. None if it is not stored, or not of the same tiles.
    """
    truth = runs[0].sum(axis=-1)
    shown = _stacked([trial.confusions_shown for trial in row.trials])
    started = study.attrs.get("crf")
    number = started.get("trial") if isinstance(started, dict) else None
    trials = () if crf is None else crf.trials
    first = _stacked([trial.confusions for trial in trials if trial.number == number])

    def scored(found: NDArray[np.int64] | None) -> float | None:
        if found is None or not np.array_equal(found[0].sum(axis=-1), truth):
            return None
        value = _mean_score(found, study.metric)
        return None if math.isnan(value) else value

    return scored(shown), scored(first)


def _loss_fall(workspace: Path, trial: Trial) -> float | None:
    """Share by which the training loss fell over the last epochs; None if the last round has too few."""
    curve = read_run(workspace, Path(trial.run)) if trial.run else None
    if curve is None:
        return None
    rounds, losses = (
        found[-LAST_EPOCHS - 1 :] for found in (curve.rounds, curve.values["loss_segmentation"])
    )
    if len(rounds) <= LAST_EPOCHS or len(set(rounds)) > 1:
        return None
    before, last = losses[0], losses[-1]
    return None if before is None or last is None or before <= 0 else 1 - last / before


def _confirmed_on_test(study: Study, row: LossRow) -> bool:
    """Whether this winner, not one before it, was measured on test."""
    found = confirmed(study)
    if found is None or not any(each.split == "test" and each.winner is not None for each in found.rows):
        return False
    loss = study.attrs[ATTRIBUTE]["winner"].get("loss")
    params = row.trials[0].params
    return not isinstance(loss, dict) or all(
        loss.get("name" if name == "loss" else name) == value for name, value in params.items()
    )


def _stacked(matrices: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Confusion matrices (R, T, K, K) of runs; None if one of them has none or other tiles."""
    known = [matrix for matrix in matrices if matrix is not None]
    if not known or len(known) < len(matrices) or len({matrix.shape for matrix in known}) > 1:
        return None
    return np.stack(known)


def _mean_score(runs: NDArray[np.int64], metric: str) -> float:
    """Mean of a metric over runs (R, T, K, K); NaN if undefined."""
    values = [METRICS[metric](run) for run in runs]
    return float(np.mean([math.nan if value is None else value for value in values]))
