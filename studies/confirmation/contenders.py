"""Who is compared in a confirmation: the winner of a study and the untuned baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import optuna

from objectives.records import attributes as attr
from objectives.records.ranking import best_untuned
from objectives.records.study import StudyKind
from objectives.space import setting_text
from reports.style.formatting import count
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.losses.config import LossConfig
from studies.stages.crf import best_crf_trial
from studies.stages.loss import best_loss, best_rounds
from studies.storage.open import load_studies
from studies.workspace import Workspace


@dataclass(frozen=True)
class Contender:
    """The winner or the baseline.

    Attributes
    ----------
    role : {"winner", "baseline"}
    name : str
        What a person reads.
    crf_name : str
        The dense CRF setting in a few characters, part of folder names.
    crf : CrfParameters
    loss : LossConfig or None
        None where the pseudo-labels themselves are scored.
    rounds : int or None
        Rounds of the run, if they are a parameter of the loss study; None takes study.toml's.
    """

    role: str
    name: str
    crf_name: str
    crf: CrfParameters
    loss: LossConfig | None = None
    rounds: int | None = None

    def settings(self) -> dict[str, Any]:
        """Describe what is computed, whatever it is called: equal for equal results."""
        loss = None if self.loss is None else self.loss.model_dump(mode="json")
        rounds = {} if self.rounds is None else {"rounds": self.rounds}
        return {"crf": self.crf.model_dump(mode="json"), "loss": loss, **rounds}


def contenders(
    workspace: Workspace, kind: StudyKind, against: tuple[str, CrfParameters] | None = None
) -> tuple[Contender, Contender]:
    """Find winner and baseline.

    Raises
    ------
    UserError
        Where nothing was tuned, or the winner is the baseline.
    """
    studies = load_studies(workspace.database)
    if attr.UNTUNED in studies[kind].user_attrs:
        raise UserError(f"There is no winner to confirm: {studies[kind].user_attrs[attr.UNTUNED]}")
    untuned_name, untuned = against or _best_untuned(studies["crf"])
    if kind == "crf":
        trial = best_crf_trial(studies["crf"])
        tuned = CrfParameters.model_validate(trial.params)
        winner = Contender("winner", f"tuned CRF (trial {trial.number})", f"crf-{trial.number:04d}", tuned)
        baseline = Contender("baseline", untuned_name, slug(untuned_name), untuned)
    else:
        loss = best_loss(studies["loss"])
        chosen = studies["loss"].user_attrs[attr.CRF]
        number, tuned = chosen["trial"], CrfParameters.model_validate(chosen["parameters"])
        rounds, all_rounds = (
            best_rounds(studies["loss"]),
            studies["loss"].user_attrs.get(attr.SEARCHED_ROUNDS),
        )
        name = f"{setting_text(loss)}{_in_words(rounds)}, tuned CRF (trial {number})"
        winner = Contender("winner", name, f"crf-{number:04d}", tuned, loss, rounds)
        name = f"cross-entropy{_in_words(all_rounds)}, {untuned_name}"
        baseline = Contender("baseline", name, slug(untuned_name), untuned, LossConfig(), all_rounds)
    if winner.settings() == baseline.settings():
        raise UserError(
            f"The best of the {kind} study is the baseline itself ({baseline.name}): there is no gain to "
            "confirm; compare with another setting by --against, or tune longer."
        )
    return winner, baseline


def _in_words(rounds: int | None) -> str:
    return "" if rounds is None else f", {count(rounds, 'round')}"


def _best_untuned(study: optuna.Study) -> tuple[str, CrfParameters]:
    """Find the named setting of the highest value: the opponent that is hardest to beat."""
    best = best_untuned(study.get_trials(deepcopy=False))
    if best is None:
        raise UserError("no untuned setting of the crf study is complete: run `sonarseg tune crf` first.")
    return str(best.user_attrs[attr.NAME]), CrfParameters.model_validate(best.params)


def slug(name: str) -> str:
    """Turn the name of a setting into a part of a folder's name."""
    return re.sub(r"[^\w.-]+", "-", name.lower()).strip("-.")
