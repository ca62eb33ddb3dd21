"""Stage 1: search the dense CRF parameters on the val tiles."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.crf_objective import CrfObjective, prepare_tiles
from objectives.search_space import named_crf_settings
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import PUBLISHED
from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from studies.storage import storage_errors, tpe_sampler
from studies.trial_loop import finished, revive, run_trials, spent
from studies.workspace import Workspace


def run_crf_study(
    study: optuna.Study,
    workspace: Workspace,
    survey: Survey,
    scaling: GreyScaling,
    *,
    jobs: int = 1,
    progress: Progress = silent,
) -> None:
    """Run the crf study until its budget is spent, or go on with it.

    Parameters
    ----------
    study : optuna.Study
        The crf study.
    workspace : Workspace
        With CAMs of the val tiles.
    survey : Survey
        With masks of val.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    jobs : int
        Processes.
    progress : Progress
        Called a trial.
    """
    config = workspace.config.crf
    with workspace.alone(progress), storage_errors(workspace.database_path):
        revive(study)
        _enqueue_named(study, named_crf_settings(scaling.channels, survey.background_id is not None))
    if spent(study) >= config.trials and len(finished(study)) >= config.trials:
        return
    so_far = len(study.get_trials(deepcopy=False))
    study.sampler = tpe_sampler(workspace.config.seed, so_far, config.trials, len(PUBLISHED))
    with storage_errors(workspace.database_path), tempfile.TemporaryDirectory(prefix="sonarseg-") as folder:
        tiles = prepare_tiles(
            survey,
            study.user_attrs["tiles"],
            workspace.cams_dir / "val",
            scaling,
            config.guides,
            Path(folder),
            progress,
        )
        objective = CrfObjective(
            tiles, survey.classes, survey.background_id, config, study.user_attrs["metric"], jobs
        )
        run_trials(study, objective, config.trials, workspace, progress=progress)


def _enqueue_named(study: optuna.Study, settings: dict[str, dict[str, Any]]) -> None:
    """Enqueue the untuned settings that are not in the study yet."""
    present = {trial.user_attrs.get("name") for trial in study.get_trials(deepcopy=False)}
    for name, params in settings.items():
        if name not in present:
            study.enqueue_trial(params, user_attrs={"name": name, "enqueued": True})


def best_crf_trial(study: optuna.Study) -> FrozenTrial:
    """Find the complete trial of the highest value, the earliest of equals.

    Raises
    ------
    UserError
        Where no trial is complete.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise UserError(
            "no trial of the crf study is complete: run `sonarseg tune crf` first, "
            "and see `sonarseg status` for the reasons of failed trials."
        )
    return max(complete, key=lambda trial: (float(trial.value or 0.0), -trial.number))


def best_crf_parameters(study: optuna.Study) -> CrfParameters:
    """Read the parameters of the best trial; UserError where no trial is complete."""
    return CrfParameters.model_validate(best_crf_trial(study).params)
