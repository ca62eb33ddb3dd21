"""Stage 2: search the loss by self-training runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.grid import loss_grid
from objectives.loss import LossObjective
from objectives.pruning import SameLossMedianPruner
from objectives.records import attributes as attr
from objectives.records.ranking import best_loss_run, first_choices
from objectives.records.trial import ROUNDS, without_rounds
from objectives.samplers import draws_so_far, enqueue_grid_point, make_sampler
from objectives.space import NAMED_LOSSES, loss_of_params
from sonarseg.errors import UserError
from sonarseg.losses.config import LossConfig
from sonarseg.progress import Progress
from sonarseg.training.batch_size import with_batch_size
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.record import SUMMARY
from studies.stages.batch_size import lower_where_memory_ran_out, runs_folder, study_batch_size
from studies.stages.earlier_rounds import add_and_tell, add_earlier_rounds, searched_rounds
from studies.stages.run_settings import RunSettings
from studies.stages.superseded import StudySuperseded, is_superseded, successor
from studies.storage.open import load_study, present_studies, storage_errors
from studies.trials.ask_lock import ask_lock
from studies.trials.loop import TrialCallbacks, run_trials
from studies.trials.retry import requeue_dead_trials
from studies.trials.stopping import StopRules
from studies.workspace import Workspace


def run_loss_study(
    study: optuna.Study,
    workspace: Workspace,
    base: RunConfig,
    run_settings: RunSettings,
    *,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> optuna.Study:
    """Run the loss study until its budget is spent, or go on with it.

    Where memory runs out, it begins anew with smaller batches.

    Parameters
    ----------
    study : optuna.Study
        The loss study.
    workspace : Workspace
        With a finished warm-up.
    base : RunConfig
        Everything of a run but loss, seed and batch size; paths relative to a folder in `runs/`.
    run_settings : RunSettings
        How runs are started.
    stop : StopRules
        When to begin no more trials.
    callbacks : TrialCallbacks
        Whom to tell, an epoch and a trial.

    Returns
    -------
    optuna.Study
        The study that has the name now.
    """
    while True:
        with suppress(StudySuperseded):
            _run(study, workspace, base, run_settings, stop, callbacks)
        if not is_superseded(study):
            return study
        study = successor(study)


def _run(
    study: optuna.Study,
    workspace: Workspace,
    base: RunConfig,
    run_settings: RunSettings,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> None:
    config = workspace.config.loss
    with storage_errors(workspace.database), ask_lock(study, workspace, callbacks.progress):
        requeue_dead_trials(study)
        rounds = searched_rounds(study, workspace.config)
        add_earlier_rounds(study)
        _enqueue_named(study)
        study.sampler = make_sampler(
            config.sampler,
            seed=workspace.config.seed,
            moved_on=draws_so_far(study),
            budget=config.trials,
        )
    study.pruner = SameLossMedianPruner(first_step=base.training.epochs_per_round + 1)
    batch_size = study_batch_size(study, workspace.config)
    assert batch_size != "auto", "the warm-up settles it"
    objective = LossObjective(
        with_batch_size(base, batch_size),
        workspace.runs_dir,
        study.user_attrs[attr.METRIC],
        seed=workspace.config.seed,
        prune=config.prune,
        command=run_settings.command,
        timing=run_settings.timing,
        folder=runs_folder(study),
        progress=callbacks.progress,
        superseded=partial(is_superseded, study),
        rounds=rounds,
    )
    run_trials(
        study,
        objective,
        config.trials,
        workspace,
        enqueue=partial(_prepare_next, workspace, callbacks.progress),
        stop=stop,
        callbacks=callbacks.also(
            asked=(objective.choose,), ended=(partial(add_and_tell, workspace, callbacks),)
        ),
    )


def _prepare_next(workspace: Workspace, progress: Progress, study: optuna.Study, left: int) -> bool:
    """Enqueue what is due: a repetition, or the grid's next point; False where nothing is left to try.

    Raises
    ------
    StudySuperseded
        Where the study has begun anew, or does so now.
    """
    if is_superseded(study) or lower_where_memory_ran_out(study, workspace.config, progress):
        raise StudySuperseded
    config = workspace.config.loss
    enqueue_repetition(study, config.seeds, left)
    rounds = study.user_attrs.get(attr.SEARCHED_ROUNDS)
    whole = {} if rounds is None else {ROUNDS: rounds}
    points = [point | whole for point in loss_grid()]
    if config.sampler != "grid" or enqueue_grid_point(study, points, workspace.config.seed):
        return True
    # The grid is done before the budget: the repetitions, which come last, come now.
    return enqueue_repetition(study, config.seeds, 0)


def _enqueue_named(study: optuna.Study) -> None:
    """Enqueue the losses that every study compares and that are not in the study yet."""
    present = {trial.user_attrs.get(attr.NAME) for trial in study.get_trials(deepcopy=False)}
    for name, params in NAMED_LOSSES.items():
        if name not in present:
            study.enqueue_trial(params, user_attrs={attr.NAME: name, attr.ENQUEUED: True})


def enqueue_repetition(study: optuna.Study, seeds: int, left: int) -> bool:
    """Keep the last part of the budget for the best setting of each loss.

    As soon as no more trials are left than runs are missing, the setting with the fewest runs is
    enqueued again, until each has `seeds` of them.

    Parameters
    ----------
    study : optuna.Study
        The loss study.
    seeds : int
        Runs that the best setting of every loss gets.
    left : int
        Trials left in the budget.

    Returns
    -------
    bool
        Whether something is enqueued now.
    """
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):
        return True
    missing: list[tuple[int, FrozenTrial]] = []
    for first, *more in first_choices(trials):
        running = sum(
            trial.state == TrialState.RUNNING
            and trial.user_attrs.get(attr.SETTING) == first.user_attrs[attr.SETTING]
            for trial in trials
        )
        lacking = seeds - 1 - len(more) - running
        if lacking > 0:
            missing.append((lacking, first))
    if missing and left <= sum(lacking for lacking, _ in missing):
        _, trial = max(missing, key=lambda item: item[0])
        study.enqueue_trial(without_rounds(trial.params), user_attrs={attr.REPETITION: True})
        return True
    return False


def best_loss_trial(study: optuna.Study) -> FrozenTrial:
    """Find the first run of the setting with the highest mean over equal numbers of seeds.

    The first run, not the luckiest of its seeds.

    Raises
    ------
    UserError
        Where no trial is complete.
    """
    best = best_loss_run(study.get_trials(deepcopy=False))
    if best is None:
        raise UserError(
            "no trial of the loss study is complete: run `sonarseg tune loss` first, "
            "and see `sonarseg status` for the reasons of failed trials."
        )
    return best


def best_loss(study: optuna.Study) -> LossConfig:
    """Read the loss of the best setting; UserError where no trial is complete."""
    return loss_of_params(best_loss_trial(study).params)


def best_rounds(study: optuna.Study) -> int | None:
    """Rounds of the best setting, if they are a parameter; UserError where no trial is complete."""
    rounds: int | None = best_loss_trial(study).params.get(ROUNDS)
    return rounds


def has_finished_run(workspace: Workspace) -> bool:
    """Whether the loss study, or the one plain run where nothing could be tuned, has a model to use."""
    study = present_studies(workspace.database).get("loss")
    if study is None:
        return False
    if attr.UNTUNED in study.user_attrs:
        return (workspace.final_dir / SUMMARY).is_file()
    return best_loss_run(study.get_trials(deepcopy=False)) is not None


def best_run_dir(workspace: Workspace) -> Path:
    """Find the run folder of the model to use; the one plain run where nothing could be tuned.

    Raises
    ------
    UserError
        Where no run has finished.
    """
    study = load_study(workspace.database, "loss")
    if attr.UNTUNED not in study.user_attrs:
        return workspace.root / str(best_loss_trial(study).user_attrs[attr.RUN])
    if not (workspace.final_dir / SUMMARY).is_file():
        raise UserError(f"{workspace.final_dir} holds no finished run: run `sonarseg tune all` first.")
    return workspace.final_dir
