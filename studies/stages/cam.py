"""Before the other studies: search how the classification branch is trained and its maps are made."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.cam import CamObjective
from objectives.map_space import map_space, named_map_settings
from objectives.records import attributes as attr
from objectives.records.map_ranking import finalists
from objectives.samplers import draws_so_far, make_sampler
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import fit_scaling
from studies.stages.run_settings import RunSettings
from studies.stages.warm_up import run_config
from studies.storage.open import storage_errors
from studies.trials.ask_lock import ask_lock
from studies.trials.loop import TrialCallbacks, finished, run_trials
from studies.trials.retry import requeue_dead_trials
from studies.trials.stopping import StopRules
from studies.workspace import Workspace


def run_cam_study(
    study: optuna.Study,
    workspace: Workspace,
    survey: Survey,
    run_settings: RunSettings,
    *,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> None:
    """Run the cam study until its budget is spent, or go on with it.

    Parameters
    ----------
    study : optuna.Study
        The cam study.
    workspace : Workspace
    survey : Survey
        With masks of val.
    run_settings : RunSettings
        How runs are started.
    stop : StopRules
        When to begin no more trials.
    callbacks : TrialCallbacks
        Whom to tell, per epoch and per trial.
    """
    config = workspace.config
    space = map_space(config, config.background)
    with storage_errors(workspace.database), ask_lock(study, workspace, callbacks.progress):
        requeue_dead_trials(study)
        _enqueue_named(study, named_map_settings(space))
        if len(finished(study)) >= config.cam.trials:
            return
        study.sampler = make_sampler(
            config.cam.sampler, seed=config.seed, moved_on=draws_so_far(study), budget=config.cam.trials
        )
    callbacks.progress("scaling grey levels", 0, 0, "")
    objective = CamObjective(
        run_config(workspace, fit_scaling(survey), config, stage="warm-up", score_maps=True),
        space,
        workspace.runs_dir,
        study.user_attrs[attr.METRIC],
        seed=config.seed,
        command=run_settings.command,
        timing=run_settings.timing,
        progress=callbacks.progress,
    )
    run_trials(
        study,
        objective,
        config.cam.trials,
        workspace,
        enqueue=partial(_prepare_next, config.cam.seeds),
        stop=stop,
        callbacks=callbacks.also(asked=(objective.choose,)),
    )


def _enqueue_named(study: optuna.Study, settings: dict[str, dict[str, object]]) -> None:
    """Enqueue the untuned settings that are not in the study yet."""
    present = {trial.user_attrs.get(attr.NAME) for trial in study.get_trials(deepcopy=False)}
    for name, params in settings.items():
        if name not in present:
            study.enqueue_trial(params, user_attrs={attr.NAME: name, attr.ENQUEUED: True})


def _prepare_next(seeds: int, study: optuna.Study, left: int) -> bool:
    """Enqueue the repetition that is due; something is always left to try."""
    enqueue_repetition(study, seeds, left)
    return True


def enqueue_repetition(study: optuna.Study, seeds: int, left: int) -> bool:
    """Keep the last part of the budget for more seeds of the best settings.

    Parameters
    ----------
    study : optuna.Study
        The cam study.
    seeds : int
        Runs that each of them gets.
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
    missing = [(seeds - _begun(first, trials), first) for first, *_ in finalists(trials)]
    missing = [(lacking, first) for lacking, first in missing if lacking > 0]
    if not missing or left > sum(lacking for lacking, _ in missing):
        return False
    _, first = max(missing, key=lambda item: item[0])
    study.enqueue_trial(first.params, user_attrs={attr.REPETITION: True, attr.ENQUEUED: True})
    return True


def _begun(first: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Count the runs of a setting that are complete or under way."""
    states = (TrialState.COMPLETE, TrialState.RUNNING)
    setting = first.user_attrs[attr.SETTING]
    return sum(trial.state in states and trial.user_attrs.get(attr.SETTING) == setting for trial in trials)
