"""The run that crf and loss study start from, its CAMs, and the configuration that trials share."""

from __future__ import annotations

import os
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.files.run_metrics import read_metrics
from sonarseg.files.whole import write_atomically
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling, fit_scaling
from sonarseg.training.config import NetworkConfig, RunConfig
from sonarseg.training.run_folder.config import CONFIG, read_config
from sonarseg.training.run_folder.record import SUMMARY, read_summary
from sonarseg.training.schedule import FINE_TUNE, epochs_before_rounds
from studies.compatibility import val_tiles
from studies.config import StudyConfig
from studies.stages.batch_size import follow_with_fitting_batches
from studies.stages.device_work import on_device
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace


def run_config(
    workspace: Workspace, scaling: GreyScaling, settings: StudyConfig | None = None, **stage: Any
) -> RunConfig:
    """Configure a run of this workspace; paths are relative to a folder in `runs/`.

    Parameters
    ----------
    workspace : Workspace
        Its study.toml gives survey, network, schedule, seed and device.
    scaling : GreyScaling
        Fitted once for the whole survey.
    settings : StudyConfig, optional
        In place of study.toml with the maps that the cam study has chosen.
    **stage
        The other fields of RunConfig.
    """
    config = settings or workspace.settled
    return RunConfig(
        survey=workspace.survey_seen_from(workspace.warm_up_dir),
        tiles=f"../../{workspace.tiles_dir.name}",
        background=config.background,
        sonar=config.sonar,
        network=_network_seen_from(workspace, config.network, workspace.warm_up_dir),
        cam=config.cam.maps,
        training=config.training,
        engine=config.crf.engine,
        scaling=scaling,
        device=config.device,
        runs_per_device=config.loss.runs_per_device,
        **{"seed": config.seed, **stage},
    )


def _network_seen_from(workspace: Workspace, network: NetworkConfig, run_dir: Path) -> NetworkConfig:
    """Name a weights file, which study.toml names from where it stands, as a run folder sees it."""
    if network.weights in ("none", "imagenet") or Path(network.weights).is_absolute():
        return network
    path = os.path.relpath(workspace.root.resolve() / network.weights, run_dir.resolve())
    return network.model_copy(update={"weights": Path(path).as_posix()})


def warm_up(workspace: Workspace, survey: Survey, run_settings: RunSettings) -> GreyScaling:
    """Train the classification branch in `runs/warm-up`, or go on with it, unless that is done.

    If the encoder is to be tuned, that is done in this run too: all later ones start from it.

    Returns
    -------
    GreyScaling
        The survey-wide scaling that every run of this workspace uses.

    Raises
    ------
    UserError
        Where the folder holds a warm-up of other settings or of another survey.
    TrialFailed
        Where the run failed.
    """
    run_dir, progress = workspace.warm_up_dir, run_settings.progress
    if (run_dir / SUMMARY).is_file():
        _check_same(workspace, survey)
        return _scaling(run_dir)
    progress("scaling grey levels", 0, 0, "")
    scaling = fit_scaling(survey)
    config = _warm_up_config(workspace, scaling)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir / CONFIG, config.model_dump_json(indent=1) + "\n")
    shutil.rmtree(workspace.cams_dir, ignore_errors=True)
    shutil.rmtree(workspace.pseudo_labels_dir, ignore_errors=True)
    total = epochs_before_rounds(config.network, config.training)
    progress("warm-up", len(read_metrics(run_dir)), total, "")
    follow = partial(
        run_settings.follow,
        run_dir,
        "warm-up",
        total,
        _note,
    )
    follow_with_fitting_batches(run_dir, follow, progress)
    return scaling


def _warm_up_config(workspace: Workspace, scaling: GreyScaling) -> RunConfig:
    """Configure the warm-up; the one that the cam study has chosen has its seed."""
    chosen = workspace.chosen_maps
    seed = {} if chosen is None else {"seed": chosen["seed"]}
    return run_config(workspace, scaling, stage="warm-up", **seed)


def _note(line: dict[str, Any]) -> str:
    stage = f"{FINE_TUNE}, " if line["stage"] == FINE_TUNE else ""
    return f"{stage}classification loss {line['loss_classification']:.3f}"


def _check_same(workspace: Workspace, survey: Survey) -> None:
    why = difference(workspace, survey, workspace.warm_up_dir)
    if why is not None:
        new = f"sonarseg init --like {shlex.quote(str(workspace.root))}"
        raise UserError(f"{why}: put that back, or start a new workspace with `{new}`.")


def difference(workspace: Workspace, survey: Survey, run_dir: Path) -> str | None:
    """Say what keeps a finished warm-up from being this workspace's; None if it would be the same."""
    stored = read_config(run_dir)
    wanted = _warm_up_config(workspace, _scaling(run_dir))
    free = ("survey", "tiles", "device", "engine", "runs_per_device", "score_maps")
    update: dict[str, Any] = {name: getattr(wanted, name) for name in free}
    update["network"] = stored.network.model_copy(update={"feature_gb": wanted.network.feature_gb})
    if stored.model_copy(update=update) != wanted:
        return f"{run_dir} was trained with other settings than study.toml has now"
    trained_on = read_summary(run_dir).get("survey_fingerprint", "")
    # Masks of val that were drawn after a start without any teach a warm-up nothing.
    if trained_on not in (survey.fingerprint, survey.fingerprint_without_masks):
        return f"{run_dir} was trained on another state of the survey {survey.root}"
    return None


def _scaling(run_dir: Path) -> GreyScaling:
    scaling = read_config(run_dir).scaling
    if scaling is None:
        raise UserError(f"{run_dir / CONFIG} has no scaling: put it back, or start a new workspace.")
    return scaling


def extract_workspace_cams(workspace: Workspace, survey: Survey, progress: Progress = silent) -> None:
    """Write the CAM scores of train and val; those that are there stay.

    A val split of which neither masks nor labels.csv tell the classes has no CAMs.
    """
    known = val_tiles(survey) or all(survey.has_labels(tile) for tile in survey.splits["val"])
    splits = ["train", "val"] if known else ["train"]
    if all((workspace.cams_dir / split).is_dir() for split in splits):
        return
    from sonarseg.cam.extract_split import extract_cams

    device = workspace.config.device
    call = partial(extract_cams, workspace.warm_up_dir, survey, splits, workspace.cams_dir, device)
    on_device(device, call, progress)
