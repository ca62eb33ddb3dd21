"""Whether the result is of use: one sentence, said first wherever results are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from objectives.records import attributes as attr
from objectives.records.study import Study, Trial
from objectives.records.trial import ROUNDS
from reports.findings.confirmed import winner_runs
from reports.findings.epochs import read_rounds
from reports.findings.guess_beaten import Guess, best_guess, mean_score
from reports.findings.loss_table import LossRow, loss_table
from reports.style.formatting import listing, percent, score
from sonarseg.files.plain_text import plain
from sonarseg.metrics.iou import METRICS

Kind = Literal[
    "no model yet", "not scored", "no better than guessing", "weak", "usable, not confirmed", "usable"
]
Weakness = Literal["not scored", "pseudo-labels", "training loss"]
USABLE: tuple[Kind, ...] = ("usable, not confirmed", "usable")
# A training loss that falls by more than this share over so many epochs has not settled.
SETTLED, LAST_EPOCHS = 0.02, 3


@dataclass(frozen=True)
class Verdict:
    """What the winner of the loss study is worth.

    Attributes
    ----------
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
        empty = any(study.val_is_empty for study in studies.values())
        return Verdict("not scored", f"Not scored: {'no tile is in val' if empty else 'val has no masks'}.")
    study = studies.get("loss")
    row = None if study is None else loss_table(study).winner(study.metric)
    if study is None or row is None:
        return Verdict("no model yet", "No model yet: no run of the loss study is complete.")
    runs = _stacked([trial.confusions for trial in row.trials])
    if runs is None or study.metric not in METRICS:
        why = f"the study holds no confusion matrices of {row.label}"
        return Verdict("not scored", f"Not scored: {why}, so nothing tells it from a guess.")
    return _judged(study, studies.get("crf"), row, runs, workspace)


def _judged(
    study: Study, crf: Study | None, row: LossRow, runs: NDArray[np.int64], workspace: Path
) -> Verdict:
    metric = study.metric
    guess = best_guess(runs, metric, study.groups, study.classes, "val")
    shown, pseudo_labels = _beside_pseudo_labels(study, crf, row, runs)
    fell = _loss_fall(workspace, row.trials[0])
    unscored = [plain(name) for name in study.attrs.get(attr.UNSCORED) or []]
    weak = _weaknesses(shown, pseudo_labels, fell, unscored)
    figures: dict[str, Any] = {
        "metric": metric,
        "model": guess.model,
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
    reached = f"{metric} {score(guess.model)} on val; {guess.sentence()}"
    if not guess.beaten:
        return Verdict("no better than guessing", f"No better than guessing: {reached}.", figures)
    if weak:
        return Verdict("weak", f"Weak: {'; '.join(weak.values())}. It reaches {reached}.", figures)
    unseen = _on_test(study, row)
    if unseen is None:
        told = "It has not been measured on test."
        return Verdict("usable, not confirmed", f"Usable, not confirmed: {reached}. {told}", figures)
    told = f"{score(unseen.model)} on test; {unseen.sentence()}"
    if not unseen.beaten:
        return Verdict(
            "usable, not confirmed",
            f"Usable, not confirmed: {reached}. Test does not confirm it: {told}.",
            figures,
        )
    return Verdict("usable", f"Usable: {reached}. Confirmed: {told}.", figures)


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


def _beside_pseudo_labels(
    study: Study, crf: Study | None, row: LossRow, runs: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Scores of the model restricted to the labels, and of the pseudo-labels that it started from.

    Both know the classes of each tile. None if it is not stored, or not of the same tiles.
    """
    truth = runs[0].sum(axis=-1)
    shown = _stacked([trial.confusions_shown for trial in row.trials])
    started = study.attrs.get(attr.CRF)
    number = started.get("trial") if isinstance(started, dict) else None
    trials = () if crf is None else crf.trials
    first = _stacked([trial.confusions for trial in trials if trial.number == number])

    def scored(found: NDArray[np.int64] | None) -> float | None:
        if found is None or not np.array_equal(found[0].sum(axis=-1), truth):
            return None
        value = mean_score(found, study.metric)
        return None if math.isnan(value) else value

    return scored(shown), scored(first)


def _loss_fall(workspace: Path, trial: Trial) -> float | None:
    """Share by which the training loss fell over the last epochs; None if the last round has too few."""
    curve = read_rounds(workspace, trial)
    if curve is None:
        return None
    rounds, losses = (
        found[-LAST_EPOCHS - 1 :] for found in (curve.rounds, curve.values["loss_segmentation"])
    )
    if len(rounds) <= LAST_EPOCHS or len(set(rounds)) > 1:
        return None
    before, last = losses[0], losses[-1]
    return None if before is None or last is None or before <= 0 else 1 - last / before


def _on_test(study: Study, row: LossRow) -> Guess | None:
    """Compare this winner, not one before it, with a guess on test; None if it was not measured there."""
    record = study.attrs.get(attr.CONFIRM)
    if not isinstance(record, dict) or "winner" not in record:
        return None
    loss, params = record["winner"].get("loss"), row.trials[0].params
    if isinstance(loss, dict) and any(
        (loss | {"loss": loss.get("name"), ROUNDS: record["winner"].get(ROUNDS)}).get(name) != value
        for name, value in params.items()
    ):
        return None
    runs = _stacked(winner_runs(record, "test"))
    if runs is None:
        return None
    return best_guess(runs, study.metric, record.get("groups", {}).get("test"), study.classes, "test")


def _stacked(matrices: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Confusion matrices (R, T, K, K) of runs; None if one of them has none or other tiles."""
    known = [matrix for matrix in matrices if matrix is not None]
    if not known or len(known) < len(matrices) or len({matrix.shape for matrix in known}) > 1:
        return None
    return np.stack(known)
