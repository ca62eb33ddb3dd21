"""The whole of a study in order, by one worker or by many: cam study, crf study, loss study."""

from __future__ import annotations

import shlex
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import optuna

from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from sonarseg.densecrf.engines.base import Engine, pick_engine
from sonarseg.errors import UserError
from sonarseg.progress import silent
from studies.config import STUDY_TOML, CamStudyConfig, CrfStudyConfig, LossStudyConfig
from studies.stages.chosen_maps import maps_can_be_searched, ready_for_crf_study
from studies.stages.crf import ready_for_loss_study
from studies.stages.lost_winner import is_winner_lost
from studies.stages.open_studies import open_studies
from studies.stages.prepare import prepare, prepare_loss
from studies.stages.run_settings import DEFAULT_RUN_SETTINGS, RunSettings
from studies.storage.open import load_study
from studies.storage.single_host import only_machine
from studies.storage.snapshot import leave_snapshot
from studies.trials.loop import EndedListener, TrialCallbacks
from studies.trials.stopping import StopRules
from studies.workers.backend import WorkerBackend
from studies.workers.leases import DeviceSlot, crf_workers, device_slots, lease
from studies.workers.local import LocalWorkers
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
    backend : WorkerBackend
        Where they run.
    hours : float or None
        Begin no trial later than this after the start, of whichever study.
    ended : tuple of callable
        Given study and trial when one has ended.
    started : float
        When the command was started, on the clock.
    """

    workers: int | None = None
    backend: WorkerBackend = field(default_factory=LocalWorkers)
    hours: float | None = None
    ended: tuple[EndedListener, ...] = ()
    started: float = field(default_factory=time.time)


ONE_WORKER = WorkerOptions(workers=1)


def tune_cam(
    workspace: Workspace,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
    worker_options: WorkerOptions = ONE_WORKER,
) -> optuna.Study:
    """Run the cam study; without val masks it stays empty and says so.

    Raises
    ------
    UserError
        If study.toml gives it no trials, the later studies have begun on other maps, or something else is
        wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    if not workspace.config.cam.trials:
        raise UserError(
            f"{workspace.root / STUDY_TOML} gives the cam study no trials: write trials = 30, say, under "
            "[cam], or begin with `sonarseg tune crf`."
        )
    _, studies = open_studies(workspace, run_settings.progress)
    if not maps_can_be_searched(studies):
        like = f"sonarseg init --like {shlex.quote(str(workspace.root))}"
        raise UserError(
            f"the crf study in {workspace.root} has begun on the maps of {workspace.warm_up_dir}, and its "
            f"trials could not be compared with those on other maps: start a new workspace with `{like}`."
        )
    return _tune(workspace, "cam", run_settings, worker_options)


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
    if is_winner_lost(study, workspace):
        task = replace(_task(workspace, "loss", run_settings, worker_options), lost_winner=True)
        if worker_options.backend.here:
            work_on(workspace, task, TrialCallbacks(run_settings.progress))
        else:
            run_settings.progress("best run", 0, 1, "is lost; a worker of the cluster trains it again")
            worker_options.backend.run(task, 1, lambda: 0)
    return study


def tune_all(
    workspace: Workspace,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
    worker_options: WorkerOptions = ONE_WORKER,
) -> None:
    """Run the studies in order, each only if the one before has a best trial.

    A workspace whose crf study began without a cam study goes on without.
    """
    searched = workspace.config.cam.trials and maps_can_be_searched(open_studies(workspace)[1])
    if searched and not ready_for_crf_study(tune_cam(workspace, run_settings, worker_options)):
        return
    # Without pseudo-labels of a best CRF there is nothing that runs could train on.
    if ready_for_loss_study(tune_crf(workspace, run_settings, worker_options)):
        tune_loss(workspace, run_settings, worker_options)


def _tune(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, worker_options: WorkerOptions
) -> optuna.Study:
    # Before the first write, and until the last.
    with only_machine(workspace):
        try:
            launch = _here if worker_options.backend.here else _elsewhere
            launch(workspace, kind, run_settings, worker_options)
            return load_study(workspace.database, kind)
        finally:
            leave_snapshot(workspace)


def _here(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, worker_options: WorkerOptions
) -> None:
    """Prepare and run a study on this machine; nothing computes on a CUDA device in this very process."""
    if kind == "cam":
        _cam_here(workspace, run_settings, worker_options)
        return
    with _leased(workspace, run_settings):
        ready = prepare(workspace, run_settings)
    study = ready.crf if kind == "crf" else ready.loss
    workers = worker_options.workers or _workers(workspace, study, kind)
    untuned = attr.UNTUNED in study.user_attrs
    if kind == "crf" and not untuned:
        run_settings.progress("dense CRF", 1, 1, str(_engine(workspace)))
    task = _task(workspace, kind, run_settings, worker_options)
    callbacks = TrialCallbacks(run_settings.progress, ended=worker_options.ended)
    if untuned or (workers == 1 and not (kind == "crf" and _engine(workspace).device != "cpu")):
        work_on(workspace, task, callbacks)
        return
    if kind == "loss":
        # Once, and with progress: each worker would only wait for the one that does it.
        with _leased(workspace, run_settings):
            prepare_loss(workspace, ready, run_settings)
    observer = Observer(study, _config(workspace, kind).trials, callbacks)
    observer.show()
    worker_options.backend.run(task, workers, observer)


def _cam_here(workspace: Workspace, run_settings: RunSettings, worker_options: WorkerOptions) -> None:
    """Run the cam study on this machine: its trials are the warm-ups, so nothing is prepared."""
    study = open_studies(workspace, run_settings.progress)[1]["cam"]
    task = _task(workspace, "cam", run_settings, worker_options)
    callbacks = TrialCallbacks(run_settings.progress, ended=worker_options.ended)
    workers = worker_options.workers or _workers(workspace, study, "cam")
    if workers == 1 or attr.UNTUNED in study.user_attrs:
        work_on(workspace, task, callbacks)
        return
    observer = Observer(study, workspace.config.cam.trials, callbacks)
    observer.show()
    worker_options.backend.run(task, workers, observer)


def _leased(workspace: Workspace, run_settings: RunSettings) -> AbstractContextManager[DeviceSlot]:
    """Lease the device that processes compute on which this one starts and waits for."""
    config = workspace.config
    return lease(device_slots(config.device, config.loss.runs_per_device), run_settings.progress)


def _elsewhere(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, worker_options: WorkerOptions
) -> None:
    """Leave everything that is computed to other machines: this one may have neither their GPUs nor cores.

    The first worker trains the warm-up, and the others wait for it.
    """
    _, studies = open_studies(workspace, run_settings.progress)
    callbacks = TrialCallbacks(run_settings.progress, ended=worker_options.ended)
    observer = Observer(studies[kind], _config(workspace, kind).trials, callbacks)
    # One is enough for what is done if nothing can be tuned.
    workers = 1 if attr.UNTUNED in studies[kind].user_attrs else worker_options.workers
    worker_options.backend.run(_task(workspace, kind, run_settings, worker_options), workers, observer)


def _config(workspace: Workspace, kind: StudyKind) -> CamStudyConfig | CrfStudyConfig | LossStudyConfig:
    config = workspace.config
    if kind == "cam":
        return config.cam
    return config.crf if kind == "crf" else config.loss


def _task(
    workspace: Workspace, kind: StudyKind, run_settings: RunSettings, worker_options: WorkerOptions
) -> WorkerTask:
    stop = StopRules(
        hours=worker_options.hours,
        patience=_config(workspace, kind).patience,
        started=worker_options.started,
    )
    # Progress is shown from here: the display cannot be sent to other processes.
    sent = replace(run_settings, progress=silent)
    return WorkerTask(str(workspace.root.resolve()), kind, sent, stop, survey=workspace.survey())


def _workers(workspace: Workspace, study: optuna.Study, kind: StudyKind) -> int:
    """Count the workers that this machine feeds."""
    config = workspace.config
    if kind != "crf":
        return len(device_slots(config.device, config.loss.runs_per_device))
    return crf_workers(_engine(workspace).name, config.device, len(study.user_attrs[attr.TILES]))


def _engine(workspace: Workspace) -> Engine:
    return pick_engine(workspace.config.crf.engine, workspace.config.device)
