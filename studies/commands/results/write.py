"""What is made from a workspace's studies once trials are done: picture rows and the report."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.trial import TrialState

from objectives.records import attributes as attr
from reports.dashboard.notes import write_dashboard_notes
from reports.page.build import write_report
from sonarseg.densecrf.engines.base import make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import NO_CRF, published
from studies.commands.results.scaling import has_warm_up, workspace_scaling
from studies.commands.terminal import phases
from studies.commands.terminal.console import ConsoleProgress, say
from studies.previews.rows import UNTUNED, picture_engine, write_picture_rows
from studies.stages.crf import best_crf_parameters, best_crf_trial
from studies.stages.loss import best_loss_trial, best_run_dir, has_finished_run
from studies.stages.run_of_trial import has_masks_of
from studies.storage.open import load_study, present_studies
from studies.storage.snapshot import refresh_snapshot, studies_on_server
from studies.workspace import Workspace


def write_results(workspace: Workspace, output: Path | None = None, *, quiet: bool = False) -> Path:
    """Make the picture rows again, write the notes for Optuna Dashboard, and the report; return its path.

    Of a workspace where nothing may be written, the report alone is.

    Parameters
    ----------
    workspace : Workspace
        With a database.
    output : Path, optional
        Where the report goes; `report.html` in the workspace by default.
    quiet : bool
        Show no progress.
    """
    phases.now("reading the studies")
    refresh_snapshot(workspace)
    if os.access(workspace.root, os.W_OK):
        _write_pictures(workspace, quiet)
        phases.now("writing the dashboard's notes and figures")
        write_dashboard_notes(workspace.root, studies_on_server(workspace))
    else:
        say(f"{workspace.root} is read-only: the report shows the pictures that are there.")
    phases.now("writing the report")
    return write_report(workspace.root, output)


def _write_pictures(workspace: Workspace, quiet: bool) -> None:
    if not has_warm_up(workspace) or not workspace.cams_dir.is_dir():
        return
    if not workspace.survey_path.is_dir():
        say(f"{workspace.survey_path} is not there: the report keeps the pictures that were made before.")
        return
    scaling = workspace_scaling(workspace)
    settings: dict[str, CrfParameters] = {
        "CAM pseudo-label": published(NO_CRF, scaling.channels),
        f"after CRF untuned ({UNTUNED})": published(UNTUNED, scaling.channels),
    }
    crf_study = present_studies(workspace.database).get("crf")
    if crf_study is not None and crf_study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = best_crf_trial(crf_study)
        name = best.user_attrs.get(attr.NAME)
        title = f"after the best CRF ({name}, untuned)" if name else "after CRF tuned"
        settings[title] = best_crf_parameters(crf_study)
    survey, engine = workspace.survey(), picture_engine(crf_study)
    with ConsoleProgress(quiet=quiet) as progress:
        make_ready(engine, scaling.channels, progress, num_classes=survey.num_classes)
    phases.now("report pictures")
    write_picture_rows(
        workspace.pictures_dir,
        survey,
        workspace.cams_dir,
        scaling,
        settings,
        _predictions(workspace),
        cam=workspace.settled.cam,
        engine=engine,
    )


def _predictions(workspace: Workspace) -> Path | None:
    """Masks that the best run predicted for val; None while no run has finished."""
    if not has_finished_run(workspace):
        return None
    study = load_study(workspace.database, "loss")
    if attr.UNTUNED not in study.user_attrs and not has_masks_of(workspace, best_loss_trial(study)):
        # They are lost, or another run's.
        return None
    return best_run_dir(workspace) / "masks"
