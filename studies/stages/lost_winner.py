"""Train the run of the best loss trial if it is not there: the model to use is always that trial's.

It was lost, or the trial is the first rounds of another one, whose run holds its last network only.
"""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from objectives.outcome import TrialFailed
from objectives.records import attributes as attr
from objectives.records.ranking import best_loss_run
from objectives.records.trial import ROUNDS, is_derived, objective_value
from sonarseg.errors import UserError
from sonarseg.files.whole import write_atomically
from sonarseg.progress import Progress
from sonarseg.training.batch_size import with_batch_size
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY
from studies.stages.batch_size import study_batch_size
from studies.stages.loss import best_loss_trial
from studies.stages.prepare import prepare, prepare_loss
from studies.stages.run_of_trial import first_rounds, is_run_of, loss_of, with_rounds
from studies.stages.run_settings import RunSettings
from studies.storage.open import storage_errors
from studies.workspace import Workspace


def train_lost_winner(study: optuna.Study, workspace: Workspace, run_settings: RunSettings) -> None:
    """Train the best trial's run, with its setting, seed and rounds, unless it is there.

    A folder of its name that holds another run is moved aside.

    Parameters
    ----------
    study : optuna.Study
        The loss study, which has a best trial.
    workspace : Workspace
    run_settings : RunSettings
        How runs are started and shown.

    Raises
    ------
    UserError
        If it fails.
    """
    with storage_errors(workspace.database):
        base = prepare_loss(workspace, prepare(workspace, run_settings), run_settings)
        _train(study, best_loss_trial(study), base, workspace, run_settings)


def is_winner_lost(study: optuna.Study, workspace: Workspace) -> bool:
    """Whether there is a best trial, and its run is not there whole."""
    trial = None if attr.UNTUNED in study.user_attrs else best_loss_run(study.get_trials(deepcopy=False))
    return trial is not None and not _is_there(trial, _run_dir(trial, workspace))


def _run_dir(trial: FrozenTrial, workspace: Workspace) -> Path:
    return workspace.root / str(trial.user_attrs[attr.RUN])


def _train(
    study: optuna.Study, trial: FrozenTrial, base: RunConfig, workspace: Workspace, run_settings: RunSettings
) -> None:
    run_dir = _run_dir(trial, workspace)
    with workspace.lock(run_settings.progress):
        if _is_there(trial, run_dir):
            # Another worker was first.
            return
        if run_dir.exists() and not is_run_of(trial, run_dir):
            _move_aside(run_dir, run_settings.progress)
        batch_size = trial.user_attrs.get(attr.BATCH_SIZE, study_batch_size(study, workspace.config))
        config = with_rounds(with_batch_size(base, batch_size), trial.params.get(ROUNDS)).model_copy(
            update={"loss": loss_of(trial), "seed": trial.user_attrs[attr.SEED]}
        )
        run_dir.mkdir(parents=True, exist_ok=True)
        if not (run_dir / CONFIG).is_file():
            write_atomically(run_dir / CONFIG, config.model_dump_json(indent=1) + "\n")
        _follow(study, trial, run_dir, config, run_settings)


def _is_there(trial: FrozenTrial, run_dir: Path) -> bool:
    return (run_dir / SUMMARY).is_file() and is_whole(run_dir / CHECKPOINT) and is_run_of(trial, run_dir)


def _move_aside(run_dir: Path, progress: Progress) -> None:
    aside = next(
        place for n in count(1) if not (place := run_dir.with_name(f"other-{n}-{run_dir.name}")).exists()
    )
    run_dir.rename(aside)
    progress("runs", 1, 1, f"{run_dir.name} held another run than its trial's, which is in {aside.name} now")


def _follow(
    study: optuna.Study, trial: FrozenTrial, run_dir: Path, config: RunConfig, run_settings: RunSettings
) -> None:
    metric = study.user_attrs[attr.METRIC]
    title = f"trial {trial.number} again, whose run is lost"
    if is_derived(trial):
        title = f"trial {trial.number}: the {first_rounds(trial)}"
    total = config.training.rounds * config.training.epochs_per_round
    run_settings.progress(title, 0, total, "")
    try:
        summary = run_settings.follow(
            run_dir, title, total, lambda line: f"{metric} {line.get(metric, math.nan):.3f}"
        )
    except TrialFailed as error:
        raise UserError(f"the run in {run_dir} failed when it was trained again: {error}") from error
    value, before = summary["metrics"].get(metric), objective_value(trial)
    if value is None or not math.isclose(value, before, abs_tol=1e-9):
        now = "undefined" if value is None else f"{value:.4f}"
        run_settings.progress(title, 1, 1, f"{metric} is {now} now, the trial had {before:.4f}")
