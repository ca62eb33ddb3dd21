"""The whole of a study in order, by one worker or by many: the crf study, the loss study, the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import optuna

from sonarseg.densecrf.engines.base import Engine, pick_engine
from sonarseg.progress import silent
from studies.stages.lost_winner import is_winner_lost, train_lost_winner
from studies.stages.open_studies import DEFAULT_MACHINERY, Machinery, open_studies, prepare, prepare_loss
from studies.storage.open import StudyKind, load_study
from studies.storage.snapshot import leave_snapshot
from studies.trials.loop import Watch
from studies.trials.stopping import StopRules
from studies.workers.dask import run_on_dask
from studies.workers.leases import crf_workers, seats
from studies.workers.local import run_workers
from studies.workers.observer import Ended, Observer, ignore
from studies.workers.single_host import only_machine
from studies.workers.worker import Errand, work_on
from studies.workspace import Workspace


@dataclass(frozen=True)
class Crew:
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
    ended : callable
        Given study and trial when one has ended.
    started : float
        When the command was started, on the clock.
    """

    workers: int | None = None
    engine: Literal["local", "dask"] = "local"
    scheduler: str = ""
    hours: float | None = None
    ended: Ended = ignore
    started: float = field(default_factory=time.time)


ALONE = Crew(workers=1)


def tune_crf(
    workspace: Workspace,
    machinery: Machinery = DEFAULT_MACHINERY,
    crew: Crew = ALONE,
) -> optuna.Study:
    """Run the crf study, from the warm-up on; without val masks it stays empty and says so.

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    return _tune(workspace, "crf", machinery, crew)


def tune_loss(
    workspace: Workspace,
    machinery: Machinery = DEFAULT_MACHINERY,
    crew: Crew = ALONE,
) -> optuna.Study:
    """Run the loss study on the best dense CRF parameters; the winner's run, if it is lost, again.

    Raises
    ------
    UserError
        Where the crf study has no complete trial, or something else can be put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    study = _tune(workspace, "loss", machinery, crew)
    if crew.engine == "local":
        train_lost_winner(study, workspace, machinery)
    elif is_winner_lost(study, workspace):
        machinery.progress("best run", 0, 1, "is lost; a worker of the cluster trains it again")
        errand = _errand(workspace, "loss", machinery, StopRules(), machinery.jobs)
        run_on_dask(workspace, replace(errand, lost_winner=True), 1, crew.scheduler, lambda: 0)
    return study


def tune_all(
    workspace: Workspace,
    machinery: Machinery = DEFAULT_MACHINERY,
    on_finished: Callable[[Workspace], None] | None = None,
    crew: Crew = ALONE,
) -> None:
    """Run both stages, and then whatever the caller wants done with them (a report).

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    tune_crf(workspace, machinery, crew)
    tune_loss(workspace, machinery, crew)
    if on_finished is not None:
        on_finished(workspace)


def _tune(workspace: Workspace, kind: StudyKind, machinery: Machinery, crew: Crew) -> optuna.Study:
    config = workspace.config.crf if kind == "crf" else workspace.config.loss
    stop = StopRules(hours=crew.hours, patience=config.patience, started=crew.started)
    # Before the first write, and until the last.
    with only_machine(workspace):
        try:
            if crew.engine == "dask":
                return _on_cluster(workspace, kind, machinery, stop, crew)
            return _here(workspace, kind, machinery, stop, crew)
        finally:
            leave_snapshot(workspace)


def _here(
    workspace: Workspace, kind: StudyKind, machinery: Machinery, stop: StopRules, crew: Crew
) -> optuna.Study:
    ready = prepare(workspace, machinery)
    study = ready.crf if kind == "crf" else ready.loss
    workers = crew.workers or _workers(workspace, study, kind)
    untuned = "untuned" in study.user_attrs
    if kind == "crf" and not untuned:
        machinery.progress("dense CRF", 1, 1, str(_engine(workspace)))
    if untuned or workers == 1:
        return _alone(workspace, kind, machinery, stop, crew.ended)
    if kind == "loss":
        # Once, and with progress: each worker would only wait for the one that does it.
        prepare_loss(workspace, ready, machinery)
    observer = _observer(workspace, kind, study, machinery, crew)
    observer.show()
    errand = _errand(workspace, kind, machinery, stop, max(1, machinery.processes // workers))
    run_workers(errand, workers, observer)
    return observer.study


def _on_cluster(
    workspace: Workspace, kind: StudyKind, machinery: Machinery, stop: StopRules, crew: Crew
) -> optuna.Study:
    """Leave everything that is computed to the cluster: this machine may have neither its GPUs nor its cores.

    The first worker trains the warm-up, and the others wait for it.
    """
    _, studies = open_studies(workspace, machinery.progress)
    study = studies[kind]
    observer = _observer(workspace, kind, study, machinery, crew)
    # One is enough for what is done where nothing can be tuned.
    workers = 1 if "untuned" in study.user_attrs else crew.workers
    errand = _errand(workspace, kind, machinery, stop, machinery.jobs)
    run_on_dask(workspace, errand, workers, crew.scheduler, observer)
    return observer.study


def _observer(
    workspace: Workspace, kind: StudyKind, study: optuna.Study, machinery: Machinery, crew: Crew
) -> Observer:
    config = workspace.config.crf if kind == "crf" else workspace.config.loss
    return Observer(study, config.trials, machinery.progress, crew.ended)


def _errand(
    workspace: Workspace, kind: StudyKind, machinery: Machinery, stop: StopRules, jobs: int
) -> Errand:
    # Progress is shown from here: the display cannot be sent to other processes.
    sent = replace(machinery, progress=silent)
    return Errand(str(workspace.root.resolve()), kind, jobs, sent, stop, survey=workspace.survey())


def _alone(
    workspace: Workspace, kind: StudyKind, machinery: Machinery, stop: StopRules, ended: Ended
) -> optuna.Study:
    work_on(workspace, kind, machinery, stop, Watch(machinery.progress, ended))
    return load_study(workspace.database, kind)


def _workers(workspace: Workspace, study: optuna.Study, kind: StudyKind) -> int:
    """Count the workers that this machine feeds."""
    config = workspace.config
    if kind == "loss":
        return len(seats(config.device, config.loss.runs_per_device))
    return crf_workers(_engine(workspace).name, config.device, len(study.user_attrs["tiles"]))


def _engine(workspace: Workspace) -> Engine:
    return pick_engine(workspace.config.crf.engine, workspace.config.device)
