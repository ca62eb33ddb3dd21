"""Score a run or a dense CRF setting on a split, and write down that test masks were opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from joblib import cpu_count

from sonarseg.cam.extract_split import extract_cams
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.evaluation import Evaluation, evaluate_crf, evaluate_run
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.guesses import best_constant_guess
from sonarseg.metrics.iou import survey_scores
from sonarseg.progress import Progress, silent
from sonarseg.survey.checks.scored_classes import unscored_classes
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from studies.commands.options.targets import crf_target, run_target
from studies.commands.results.scaling import has_warm_up, workspace_scaling
from studies.stages.open_studies import open_studies
from studies.storage.open import has_studies, load_study
from studies.storage.openings import log_test_opening
from studies.storage.single_host import only_machine
from studies.trials.ask_lock import ask_lock
from studies.workspace import Workspace


def score_target(
    workspace: Workspace, target: str, split: str, progress: Progress = silent
) -> dict[str, Any]:
    """Score what a person names.

    Parameters
    ----------
    workspace : Workspace
        The workspace.
    target : str
        A run or a dense CRF setting, see `studies.commands.options.targets`.
    split : str
        "val", or "test", whose opening is logged in the database once its masks have been read.
    progress : Progress
        Called a tile.

    Returns
    -------
    dict
        What was scored, tiles, strips, packed confusions and scores, fit for JSON.
    """
    survey, scaling = workspace.survey(), workspace_scaling(workspace)
    found = crf_target(workspace, target, scaling) or run_target(workspace, target)
    if split == "test":
        if not has_studies(workspace.database):
            with only_machine(workspace):
                open_studies(workspace, progress)
        survey = survey.with_masks_of("test")
    if isinstance(found, Path):
        progress("scoring the run", 0, 0, "")
        scored: dict[str, Any] = {"run": str(found)}
        evaluation = evaluate_run(found, survey, split, device=workspace.config.device)
    else:
        scored = {"crf": found.model_dump(mode="json")}
        evaluation = _score_crf(workspace, survey, split, found, scaling, progress)
    if split == "test":
        with ask_lock(load_study(workspace.database, "loss"), workspace, progress):
            log_test_opening(workspace, f"sonarseg evaluate {target} --split test")
    return {
        "target": target,
        **scored,
        "split": split,
        "classes": list(survey.classes),
        "tiles": list(evaluation.tiles),
        "groups": list(evaluation.groups),
        "uses_image_labels": evaluation.uses_image_labels,
        "unscored": list(unscored_classes(survey, split, evaluation.confusions.sum(axis=(0, 2)))),
        "scores": {**evaluation.scores, "boundary_iou": evaluation.boundary_iou},
        "constant_guess": constant_guess(evaluation, survey.classes),
        "confusions": pack_confusions(evaluation.confusions),
        "survey_fingerprint": workspace.survey().fingerprint,
    }


def _score_crf(
    workspace: Workspace,
    survey: Survey,
    split: str,
    parameters: CrfParameters,
    scaling: GreyScaling,
    progress: Progress,
) -> Evaluation:
    if not has_warm_up(workspace):
        raise UserError(
            f"{workspace.root} has no finished warm-up, so there are no CAM scores to refine: "
            "run `sonarseg tune crf` first."
        )
    with workspace.lock(progress):
        extract_cams(
            workspace.warm_up_dir, survey, [split], workspace.cams_dir, workspace.config.device, progress
        )
    return evaluate_crf(
        survey,
        split,
        workspace.cams_dir,
        parameters,
        scaling,
        cam=workspace.settled.cam,
        engine=pick_engine(workspace.config.crf.engine, workspace.config.device),
        jobs=int(cpu_count()),
        progress=progress,
    )


def constant_guess(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Score the one class that, guessed everywhere, has the largest `miou`: the floor to beat."""
    _, best = best_constant_guess(evaluation.confusions, "miou")
    return dict(survey_scores(best, classes))
