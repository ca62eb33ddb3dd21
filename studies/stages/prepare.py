"""What a study starts from: warm-up and CAMs; for the loss study also the first pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import TrialState

from objectives.outcome import TrialFailed
from objectives.records import attributes as attr
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import published
from sonarseg.errors import UserError
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.record import read_summary
from sonarseg.training.targets.pseudo_labels import make_pseudo_labels
from studies.stages.batch_size import note_batch_size
from studies.stages.chosen_maps import settle_maps
from studies.stages.crf import best_crf_trial
from studies.stages.device_work import on_device
from studies.stages.open_studies import open_studies
from studies.stages.run_settings import DEFAULT_RUN_SETTINGS, RunSettings
from studies.stages.warm_up import extract_workspace_cams, run_config, warm_up
from studies.storage.open import (
    storage_errors,
)
from studies.trials.loop import finished
from studies.workspace import Workspace

UNTUNED_CRF = "w-s3Tseg"


@dataclass(frozen=True)
class Prepared:
    """What both stages start from: survey, scaling and the two studies."""

    survey: Survey
    scaling: GreyScaling
    crf: optuna.Study
    loss: optuna.Study


def prepare(workspace: Workspace, run_settings: RunSettings = DEFAULT_RUN_SETTINGS) -> Prepared:
    """Open the studies, choose or train the warm-up and extract the CAMs, unless that is done.

    Raises
    ------
    UserError
        Where something is wrong with the input or the warm-up failed.
    """
    survey, studies = open_studies(workspace, run_settings.progress)
    with workspace.lock(run_settings.progress), storage_errors(workspace.database):
        settle_maps(workspace, studies, run_settings.progress)
        try:
            scaling = warm_up(workspace, survey, run_settings)
        except TrialFailed as error:
            raise UserError(f"the warm-up in {workspace.warm_up_dir} failed: {error}") from error
        summary = read_summary(workspace.warm_up_dir)
        note_batch_size(studies["loss"], workspace.config, summary)
        device = summary["device"]
        for study in studies.values():
            if study.user_attrs[attr.DEVICE] != device:
                study.set_user_attr(attr.DEVICE, device)
        extract_workspace_cams(workspace, survey, run_settings.progress)
    return Prepared(survey, scaling, studies["crf"], studies["loss"])


def prepare_loss(
    workspace: Workspace, ready: Prepared, run_settings: RunSettings = DEFAULT_RUN_SETTINGS
) -> RunConfig:
    """Choose the dense CRF of all runs, make the first pseudo-labels, and configure what runs share.

    Raises
    ------
    UserError
        Where the crf study has no complete trial.
    """
    with workspace.lock(run_settings.progress), storage_errors(workspace.database):
        name, parameters = _crf_for_runs(workspace, ready, run_settings.progress)
        labels = first_pseudo_labels(workspace, ready, name, parameters, run_settings)
    return run_config(
        workspace,
        ready.scaling,
        stage="self-training",
        warm_up="../warm-up",
        first_pseudo_labels=labels,
        crf=parameters,
    )


def _crf_for_runs(workspace: Workspace, ready: Prepared, progress: Progress) -> tuple[str, CrfParameters]:
    """Choose the dense CRF setting of all runs, and its folder of pseudo-labels.

    It is the crf study's best at the time of the first loss trial: losses are compared on equal
    pseudo-labels, even where the crf study went on later.
    """
    study = ready.loss
    if attr.UNTUNED in study.user_attrs:
        return UNTUNED_CRF, published(UNTUNED_CRF, ready.scaling.channels)
    best = best_crf_trial(ready.crf)
    chosen = study.user_attrs.get(attr.CRF)
    begun = any(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    if chosen is None or (not begun and chosen["trial"] != best.number):
        chosen = {
            "trial": best.number,
            "parameters": CrfParameters.model_validate(best.params).model_dump(mode="json"),
        }
        study.set_user_attr(attr.CRF, chosen)
    elif chosen["trial"] != best.number:
        progress(
            "loss study",
            len(finished(study)),
            workspace.config.loss.trials,
            f"goes on with crf trial {chosen['trial']}, which was the best when it began",
        )
    return f"crf-{chosen['trial']:04d}", CrfParameters.model_validate(chosen["parameters"])


def first_pseudo_labels(
    workspace: Workspace, ready: Prepared, name: str, parameters: CrfParameters, run_settings: RunSettings
) -> str:
    """Make the first round's pseudo-labels of the train tiles once for all runs; name them as a run does."""
    folder: Path = workspace.pseudo_labels_dir / name
    if not folder.is_dir():
        engine = pick_engine(workspace.config.crf.engine, workspace.config.device)
        call = partial(
            make_pseudo_labels,
            ready.survey,
            ready.survey.splits["train"],
            workspace.cams_dir / "train",
            folder,
            parameters,
            ready.scaling,
            engine=engine,
            jobs=run_settings.processes,
            scored_background=workspace.settled.cam.scores_background,
        )
        on_device(engine.device, call, run_settings.progress)
    return f"../../{workspace.pseudo_labels_dir.name}/{name}"
