"""The one run of a workspace in which nothing can be tuned."""

from __future__ import annotations

from functools import partial

import optuna

from objectives.outcome import TrialFailed
from sonarseg.errors import UserError
from sonarseg.files.whole import write_atomically
from sonarseg.losses.config import LossConfig
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY
from studies.stages.batch_size import follow_with_fitting_batches, study_batch_size
from studies.stages.run_settings import RunSettings
from studies.workspace import Workspace


def train_final_run(
    study: optuna.Study, workspace: Workspace, base: RunConfig, run_settings: RunSettings
) -> None:
    """Train `runs/final` with cross-entropy, unless that is done.

    Parameters
    ----------
    study : optuna.Study
        The loss study, which stays empty.
    workspace : Workspace
    base : RunConfig
        Everything of a run but loss and batch size.
    run_settings : RunSettings
        How the run is started and shown.

    Raises
    ------
    UserError
        If it fails.
    """
    run_dir = workspace.final_dir
    if (run_dir / SUMMARY).is_file() and is_whole(run_dir / CHECKPOINT):
        return
    batch_size = study_batch_size(study, workspace.config)
    training = base.training.model_copy(update={"batch_size": batch_size})
    config = base.model_copy(update={"loss": LossConfig(name="cross-entropy"), "training": training})
    run_dir.mkdir(parents=True, exist_ok=True)
    if not (run_dir / CONFIG).is_file():
        write_atomically(run_dir / CONFIG, config.model_dump_json(indent=1) + "\n")
    total = config.training.rounds * config.training.epochs_per_round
    run_settings.progress("final run", 0, total, "")
    follow = partial(run_settings.follow, run_dir, "final run", total)
    try:
        follow_with_fitting_batches(run_dir, follow, run_settings.progress)
    except TrialFailed as error:
        raise UserError(f"the run in {run_dir} failed: {error}") from error
