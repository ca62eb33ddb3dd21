"""What a person means by `tuned`, `w-s3tseg`, `crf:12`, `loss:7`, `best` or a run folder."""

from __future__ import annotations

import re
from pathlib import Path

from optuna.trial import FrozenTrial

from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from reports.style.formatting import number_ranges
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import NO_CRF, PUBLISHED, published
from sonarseg.errors import UserError
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.run_folder.config import CONFIG
from studies.pack import packed_run
from studies.stages.crf import best_crf_parameters
from studies.stages.loss import best_loss_trial, best_run_dir
from studies.stages.run_of_trial import trained_run
from studies.storage.open import load_study
from studies.workspace import Workspace

TUNED, BEST, CAM = "tuned", "best", "cam"


def _slug(name: str) -> str:
    return name.strip().lower().replace(" ", "-")


def _settings() -> dict[str, str]:
    """List published settings by the name a person types; `cam` is the scores' argmax, without a CRF."""
    return {_slug(name): name for name in PUBLISHED} | {CAM: NO_CRF}


def crf_target(workspace: Workspace, text: str, scaling: GreyScaling) -> CrfParameters | None:
    """Find the dense CRF setting that a person names; None if the text names none.

    Parameters
    ----------
    workspace : Workspace
        Its crf study knows `tuned` and `crf:N`.
    text : str
        `tuned`, `cam`, `crf:N`, or the name of a published setting in any case.
    scaling : GreyScaling
        Tells for how many channels a published setting is meant.

    Raises
    ------
    UserError
        Where there is no such trial, or nothing was tuned yet.
    """
    if _slug(text) == TUNED:
        return best_crf_parameters(load_study(workspace.database, "crf"))
    if (name := _settings().get(_slug(text))) is not None:
        return published(name, scaling.channels)
    if match := re.fullmatch(r"crf:(\d+)", text.strip()):
        return CrfParameters.model_validate(_trial(workspace, "crf", int(match[1])).params)
    return None


def crf_named(workspace: Workspace, text: str, scaling: GreyScaling) -> CrfParameters:
    """Find a dense CRF setting.

    Raises
    ------
    UserError
        Where the text names none.
    """
    found = crf_target(workspace, text, scaling)
    if found is None:
        raise UserError(
            f'"{text}" is no CRF setting: use tuned, crf:N (a trial), or {", ".join(_settings())}.'
        )
    return found


def run_target(workspace: Workspace, text: str) -> Path:
    """Find the run folder that a person names.

    Parameters
    ----------
    workspace : Workspace
        Its loss study knows `best` and `loss:N`, its `runs` folder the runs.
    text : str
        `best`, `loss:N`, a folder, or the name of one in `runs`.

    Raises
    ------
    UserError
        Where there is none.
    """
    if _slug(text) == BEST:
        return _best_run(workspace)
    if match := re.fullmatch(r"loss:(\d+)", text.strip()):
        trial = _trial(workspace, "loss", int(match[1]))
        if attr.RUN not in trial.user_attrs:
            raise UserError(f"Trial {trial.number} of the loss study has no run yet: name a finished one.")
        return trained_run(workspace, trial)
    for folder in (Path(text), workspace.runs_dir / text):
        if (folder / CONFIG).is_file():
            return folder
    raise UserError(
        f'"{text}" is neither a run folder nor a CRF setting: '
        f"use a folder with config.json, best, loss:N, tuned, crf:N, or {', '.join(_settings())}."
    )


def _best_run(workspace: Workspace) -> Path:
    if (packed := packed_run(workspace)) is not None:
        return packed
    study = load_study(workspace.database, "loss")
    if attr.UNTUNED in study.user_attrs:
        return best_run_dir(workspace)
    return trained_run(workspace, best_loss_trial(study))


def _trial(workspace: Workspace, kind: StudyKind, number: int) -> FrozenTrial:
    trials = load_study(workspace.database, kind).get_trials(deepcopy=False)
    for trial in trials:
        if trial.number == number:
            return trial
    known = (
        f"its trials are {number_ranges(trial.number for trial in trials)}" if trials else "it has none yet"
    )
    raise UserError(f"The {kind} study has no trial {number}: {known}.")
