"""The whole of a study in order, by one worker or by many: the crf study, the loss study, the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import optuna

from objectives.records import attributes as attr
from sonarseg.densecrf.engines.base import Engine, pick_engine
from sonarseg.progress import silent
from studies.stages.lost_winner import is_winner_lost, train_lost_winner
from studies.stages.open_studies import open_studies
from studies.stages.prepare import prepare, prepare_loss
from studies.stages.run_settings import DEFAULT_RUN_SETTINGS, RunSettings
from studies.storage.open import StudyKind, load_study
from studies.storage.single_host import only_machine
from studies.storage.snapshot import leave_snapshot
from studies.trials.loop import EndedListener, TrialCallbacks
from studies.trials.stopping import StopRules
from studies.workers.dask import run_on_dask
from studies.workers.leases import crf_workers, device_slots
from studies.workers.local import run_workers
from studies.workers.observer import Observer
from studies.workers.worker import WorkerTask, work_on
from studies.workspace import Workspace


@dataclass(frozen=True)
class WorkerOptions:
    """Who works on the studies.

    Attributes
    ----------
    workers : int or None
        How many; None is one for each device, and for the crf study one for every eight cores.
    engine : {"local", "dask"}
        Where they run.
    scheduler : str
        Dask's scheduler.
    hours : float or None
        Begin no trial later than this after the start, of whichever study.
    ended : tuple of callable
        Given study and trial when one has ended.
    started : float
        When the command was started, on the clock.
    """

    workers: int | None = None
    engine: Literal["local", "dask"] = "local"
    scheduler: str = ""
    hours: float | None = None
    ended: tuple[EndedListener, ...] = ()
    started: float = field(default_factory=time.time)


ONE_WORKER = WorkerOptions(workers=1)


def tune_crf(
    workspace: Workspace,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
    worker_options: WorkerOptions = ONE_WORKER,
) -> optuna.Study:
    """Run the crf study, from the warm-up on; without val masks it stays empty and says so.

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    return _tune(workspace, "crf", run_settings, worker_options)


def tune_loss(
    workspace: Workspace,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
    worker_options: WorkerOptions = ONE_WORKER,
) -> optuna.Study:
    """Run the loss study on the best dense CRF parameters; the winner's run, if it is lost, again.

    Raises
    ------
    UserError
        Where the crf study has no complete trial, or something else can be put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    study = _tune(workspace, "loss", run_settings, worker_options)
    if worker_options.engine == "local":
        train_lost_winner(study, workspace, run_settings)
    elif is_winner_lost(study, workspace):
        run_settings.progress("best run", 0, 1, "is lost; a worker of the cluster trains it again")
        task = _task(workspace, "loss", run_settings, StopRules(), run_settings.jobs)
        run_on_dask(workspace, replace(task, lost_winner=True), 1, worker_options.scheduler, lambda: 0)
    return study


def tune_all(
    workspace: Workspace,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
    on_finished: Callable[[Workspace], None] | None = None,
    worker_options: WorkerOptions = ONE_WORKER,
) -> None:
    """Run both stages, and then whatever the caller wants done with them (a report).

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    tune_crf(workspace, run_settings, worker_options)
    tune_loss(workspace, run_settings, worker_options)
    if on_finished is not None:
        on_finished(workspace)


def _tune(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, worker_options: WorkerOptions
) -> optuna.Study:
    config = workspace.config.crf if kind == "crf" else workspace.config.loss
    stop = StopRules(hours=worker_options.hours, patience=config.patience, started=worker_options.started)
    # Before the first write, and until the last.
    with only_machine(workspace):
        try:
            if worker_options.engine == "dask":
                return _on_cluster(workspace, kind, run_settings, stop, worker_options)
            return _here(workspace, kind, run_settings, stop, worker_options)
        finally:
            leave_snapshot(workspace)


def _here(
    workspace: Workspace,
    kind: StudyKind,
    run_settings: RunSettings,
    stop: StopRules,
    worker_options: WorkerOptions,
) -> optuna.Study:
    ready = prepare(workspace, run_settings)
    study = ready.crf if kind == "crf" else ready.loss
    workers = worker_options.workers or _workers(workspace, study, kind)
    untuned = attr.UNTUNED in study.user_attrs
    if kind == "crf" and not untuned:
        run_settings.progress("dense CRF", 1, 1, str(_engine(workspace)))
    if untuned or workers == 1:
        return _alone(workspace, kind, run_settings, stop, worker_options.ended)
    if kind == "loss":
        # Once, and with progress: each worker would only wait for the one that does it.
        prepare_loss(workspace, ready, run_settings)
    observer = _observer(workspace, kind, study, run_settings, worker_options)
    observer.show()
    task = _task(workspace, kind, run_settings, stop, max(1, run_settings.processes // workers))
    run_workers(task, workers, observer)
    return observer.study


def _on_cluster(
    workspace: Workspace,
    kind: StudyKind,
    run_settings: RunSettings,
    stop: StopRules,
    worker_options: WorkerOptions,
) -> optuna.Study:
    """Leave everything that is computed to the cluster: this machine may have neither its GPUs nor its cores.

    The first worker trains the warm-up, and the others wait for it.
    """
    _, studies = open_studies(workspace, run_settings.progress)
    study = studies[kind]
    observer = _observer(workspace, kind, study, run_settings, worker_options)
    # One is enough for what is done where nothing can be tuned.
    workers = 1 if attr.UNTUNED in study.user_attrs else worker_options.workers
    task = _task(workspace, kind, run_settings, stop, run_settings.jobs)
    run_on_dask(workspace, task, workers, worker_options.scheduler, observer)
    return observer.study


def _observer(
    workspace: Workspace,
    kind: StudyKind,
    study: optuna.Study,
    run_settings: RunSettings,
    worker_options: WorkerOptions,
) -> Observer:
    config = workspace.config.crf if kind == "crf" else workspace.config.loss
    return Observer(study, config.trials, TrialCallbacks(run_settings.progress, ended=worker_options.ended))


def _task(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, stop: StopRules, jobs: int
) -> WorkerTask:
    # Progress is shown from here: the display cannot be sent to other processes.
    sent = replace(run_settings, progress=silent)
    return WorkerTask(str(workspace.root.resolve()), kind, jobs, sent, stop, survey=workspace.survey())


def _alone(
    workspace: Workspace,
    kind: StudyKind,
    run_settings: RunSettings,
    stop: StopRules,
    ended: tuple[EndedListener, ...],
) -> optuna.Study:
    work_on(workspace, kind, run_settings, stop, TrialCallbacks(run_settings.progress, ended=ended))
    return load_study(workspace.database, kind)


def _workers(workspace: Workspace, study: optuna.Study, kind: StudyKind) -> int:
    """Count the workers that this machine feeds."""
    config = workspace.config
    if kind == "loss":
        return len(device_slots(config.device, config.loss.runs_per_device))
    return crf_workers(_engine(workspace).name, config.device, len(study.user_attrs[attr.TILES]))


def _engine(workspace: Workspace) -> Engine:
    return pick_engine(workspace.config.crf.engine, workspace.config.device)
