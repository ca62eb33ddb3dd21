"""Stage 1: search the dense CRF parameters on the val tiles."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.crf import CrfObjective, no_race
from objectives.grid import crf_grid
from objectives.racing import Incumbent, incumbent_of
from objectives.records import attributes as attr
from objectives.records.ranking import best_trial
from objectives.records.trial import objective_value
from objectives.samplers import draws_so_far, enqueue_grid_point, make_sampler
from objectives.space import named_crf_settings
from objectives.tuning_tiles import prepare_tiles
from objectives.widening import widened
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine, make_ready, pick_engine
from sonarseg.densecrf.engines.faster import faster_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from studies.config import STUDY_TOML
from studies.stages.finish_races import finish_races, has_unfinished
from studies.storage.open import storage_errors
from studies.trials.ask_lock import ask_lock
from studies.trials.loop import TrialCallbacks, finished, run_trials
from studies.trials.retry import requeue_dead_trials
from studies.trials.stopping import NEVER, StopRules
from studies.workspace import Workspace


def run_crf_study(
    study: optuna.Study,
    workspace: Workspace,
    survey: Survey,
    scaling: GreyScaling,
    *,
    jobs: int = 1,
    stop: StopRules = NEVER,
    callbacks: TrialCallbacks = TrialCallbacks(),  # noqa: B008
) -> None:
    """Run the crf study until its budget is spent, or go on with it; then finish races that could matter.

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
        Threads or processes.
    stop : StopRules
        When to begin no more trials.
    callbacks : TrialCallbacks
        Whom to tell.

    Raises
    ------
    UserError
        Where the study was begun with another engine.
    """
    config = workspace.config.crf
    background = workspace.settled.cam.constant_background(survey.background_id)
    progress = callbacks.progress
    with storage_errors(workspace.database), ask_lock(study, workspace, progress):
        engine = _same_engine(study, _engine(study, workspace, jobs, progress), workspace)
        requeue_dead_trials(study)
        add_missing_iterations(study)
        _enqueue_named(study, named_crf_settings(scaling.channels, background is not None))
        races = config.race and not config.weigh_seconds
        if len(finished(study)) >= config.trials and not (races and has_unfinished(study)):
            return
        study.sampler = make_sampler(
            config.sampler,
            seed=workspace.config.seed,
            moved_on=draws_so_far(study),
            budget=config.trials,
        )
    with (
        storage_errors(workspace.database),
        tempfile.TemporaryDirectory(prefix="sonarseg-") as folder,
        engine.keeping_tiles(),
    ):
        tiles = prepare_tiles(
            survey,
            study.user_attrs[attr.TILES],
            workspace.cams_dir / "val",
            scaling,
            config.guides,
            Path(folder),
            progress,
            jobs=jobs,
            cam=workspace.settled.cam,
        )
        make_ready(engine, scaling.channels, progress, num_classes=survey.num_classes)
        objective = CrfObjective(
            tiles,
            survey.classes,
            background,
            config,
            study.user_attrs[attr.METRIC],
            engine,
            jobs,
            incumbent=partial(_incumbent, study) if races else no_race,
            seed=workspace.config.seed,
            weigh_seconds=config.weigh_seconds,
        )
        run_trials(
            study,
            objective,
            config.trials,
            workspace,
            enqueue=partial(_enqueue_grid, workspace, background is not None)
            if config.sampler == "grid"
            else None,
            stop=stop,
            callbacks=callbacks.also(ended=(partial(_add_better_iterations, workspace, callbacks),)),
        )
        if races:
            finish_races(study, objective, workspace, stop=stop, callbacks=callbacks)


def _enqueue_grid(workspace: Workspace, has_background: bool, study: optuna.Study, left: int) -> bool:
    """Enqueue the next point of the grid; False if all were tried."""
    points = crf_grid(workspace.config.crf, has_background)
    return enqueue_grid_point(study, points, workspace.config.seed)


def _engine(study: optuna.Study, workspace: Workspace, jobs: int, progress: Progress) -> Engine:
    """Engine of the settings; if it is "auto" on a CUDA device, the faster one, measured once for a study."""
    picked = pick_engine(workspace.config.crf.engine, workspace.config.device)
    if workspace.config.crf.engine != "auto" or picked.name != "torch":
        return picked
    begun_with = study.user_attrs.get(attr.ENGINE)
    if begun_with is not None:
        return DEFAULT_ENGINE if begun_with == DEFAULT_ENGINE.name else picked
    make_ready(DEFAULT_ENGINE, 1, progress)
    fastest, note = faster_engine(picked, jobs)
    study.set_user_attr(attr.ENGINE_NOTE, note)
    return fastest


def _same_engine(study: optuna.Study, engine: Engine, workspace: Workspace) -> Engine:
    """Note the engine of a new study; refuse another one later."""
    begun_with = study.user_attrs.get(attr.ENGINE)
    if begun_with is None:
        study.set_user_attr(attr.ENGINE, engine.name)
    elif begun_with != engine.name:
        raise UserError(
            f"the crf study in {workspace.root} was begun with the engine {begun_with}, and its trials could "
            f'not be compared with those of {engine.name}: write engine = "{begun_with}" under [crf] in '
            f"{workspace.root / STUDY_TOML}, or start a new workspace."
        )
    return engine


def _incumbent(study: optuna.Study) -> Incumbent | None:
    """Find the trial that others are raced against: the best complete one, None before there is one."""
    best = best_trial(study.get_trials(deepcopy=False))
    if best is None:
        return None
    confusions = unpack_confusions(best.user_attrs[attr.CONFUSIONS])
    return incumbent_of(confusions, study.user_attrs[attr.METRIC], objective_value(best))


def _add_better_iterations(
    workspace: Workspace, callbacks: TrialCallbacks, study: optuna.Study, ended: FrozenTrial
) -> None:
    """Add what `add_missing_iterations` adds and tell of it, locked, so that no two workers add the same."""
    with ask_lock(study, workspace):
        added = add_missing_iterations(study)
    for trial in added:
        callbacks.on_ended(study, trial)


def add_missing_iterations(study: optuna.Study) -> list[FrozenTrial]:
    """Add a completed trial for every trial in which another number of iterations was better.

    One run of the dense CRF scores all numbers of iterations, so these trials cost nothing: they are
    marked as derived and are no part of the budget. Calling it again adds nothing twice.

    Returns
    -------
    list of FrozenTrial
        The trials that were added.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    done = {trial.user_attrs.get(attr.DERIVED) for trial in trials}
    sources = set[int]()
    for trial in trials:
        better = trial.user_attrs.get(attr.BETTER_ITERATIONS)
        if better is None or trial.number in done:
            continue
        sources.add(trial.number)
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=better["value"],
                params={**trial.params, "iterations": better["iterations"]},
                distributions=widened(trial.distributions, trial.params),
                user_attrs={
                    attr.DERIVED: trial.number,
                    attr.SCORES: better["metrics"],
                    attr.CONFUSIONS: better["confusions"],
                    attr.CURVE: trial.user_attrs[attr.CURVE],
                    attr.SECONDS: 0.0,
                },
            )
        )
    if not sources:
        return []
    return [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get(attr.DERIVED) in sources]


def _enqueue_named(study: optuna.Study, settings: dict[str, dict[str, Any]]) -> None:
    """Enqueue the untuned settings that are not in the study yet."""
    present = {trial.user_attrs.get(attr.NAME) for trial in study.get_trials(deepcopy=False)}
    for name, params in settings.items():
        if name not in present:
            study.enqueue_trial(params, user_attrs={attr.NAME: name, attr.ENQUEUED: True})


def best_crf_trial(study: optuna.Study) -> FrozenTrial:
    """Find the complete trial of the highest value, the earliest of equals.

    Raises
    ------
    UserError
        Where no trial is complete.
    """
    best = best_trial(study.get_trials(deepcopy=False))
    if best is None:
        raise UserError(
            "no trial of the crf study is complete: run `sonarseg tune crf` first, "
            "and see `sonarseg status` for the reasons of failed trials."
        )
    return best


def ready_for_loss_study(study: optuna.Study) -> bool:
    """Whether the loss study can begin: a best trial is there, or nothing could be tuned at all."""
    return attr.UNTUNED in study.user_attrs or best_trial(study.get_trials(deepcopy=False)) is not None


def best_crf_parameters(study: optuna.Study) -> CrfParameters:
    """Read the parameters of the best trial; UserError where no trial is complete."""
    return CrfParameters.model_validate(best_crf_trial(study).params)
