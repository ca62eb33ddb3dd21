"""What one worker does: lease a device, and work off trials of a study until its budget is spent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import optuna
from joblib import cpu_count

from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from sonarseg.errors import DeviceLost
from sonarseg.processes.signals import interruptible
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from studies.stages.cam import run_cam_study
from studies.stages.crf import run_crf_study
from studies.stages.final_run import train_final_run
from studies.stages.loss import run_loss_study
from studies.stages.lost_winner import train_lost_winner
from studies.stages.open_studies import open_studies
from studies.stages.prepare import prepare, prepare_loss
from studies.stages.run_settings import DEFAULT_RUN_SETTINGS, RunSettings
from studies.stages.superseded import is_superseded, successor
from studies.storage.open import load_study, storage_errors
from studies.storage.server import await_server
from studies.storage.single_host import only_machine
from studies.trials.loop import TrialCallbacks
from studies.trials.stopping import NEVER, StopRules
from studies.workers.leases import device_slots, lease
from studies.workspace import Workspace


@dataclass(frozen=True)
class Lost:
    """A worker ended because its device did: `sentence` says so."""

    sentence: str


Ending = Literal["done", "interrupted"] | Lost


@dataclass(frozen=True)
class WorkerTask:
    """What a worker is sent to do.

    Attributes
    ----------
    root : str
        The workspace, absolute.
    kind : {"cam", "crf", "loss"}
        The study.
    run_settings : RunSettings
        How runs are started; if `jobs` is 0, the dense CRF has this worker's share of its machine's cores.
        Its progress is not called.
    stop : StopRules
        When to begin no more trials.
    launch : str
        Name under which the worker can be asked to stop.
    survey : Survey or None
        The workspace's, as the launcher has opened it and taken its fingerprint.
    sharing : int
        Workers that share the cores of their machine.
    lost_winner : bool
        Train the lost run of the best loss trial again, instead of trials.
    """

    root: str
    kind: StudyKind
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS
    stop: StopRules = NEVER
    launch: str = ""
    survey: Survey | None = None
    sharing: int = 1
    lost_winner: bool = False


def work(task: WorkerTask) -> Ending:
    """Run one worker; it ends with its study, with its device, by a signal, or when it is asked to stop.

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    """
    # What a person should know is in the database: workers share a terminal that is not theirs.
    logging.getLogger("optuna").setLevel(logging.ERROR)
    workspace = Workspace(Path(task.root), task.survey)
    try:
        with interruptible():
            # The launcher was let in: a server that does not answer now is being started again.
            await_server(workspace.database)
            work_on(workspace, task, TrialCallbacks(_asked_to_stop(workspace, task)))
    except KeyboardInterrupt:
        return "interrupted"
    except DeviceLost as lost:
        return Lost(str(lost))
    return "done"


def _asked_to_stop(workspace: Workspace, task: WorkerTask) -> Progress:
    """Look at every step whether the launcher, perhaps on another machine, wants this worker to end."""
    if not task.launch:
        return silent
    study = load_study(workspace.database, task.kind)

    def look(what: str, done: int, total: int, note: str = "") -> None:
        nonlocal study
        if is_superseded(study):
            study = successor(study)
        if task.launch in study.user_attrs.get(attr.STOP_REQUESTS, []):
            raise KeyboardInterrupt

    return look


def work_on(workspace: Workspace, task: WorkerTask, callbacks: TrialCallbacks) -> None:
    """Do a worker's task in this process, on a leased device.

    Parameters
    ----------
    workspace : Workspace
        That of the task, opened.
    task : WorkerTask
    callbacks : TrialCallbacks
        Listeners; its progress is that of the runs too.

    Raises
    ------
    UserError
        Where something is wrong that the person can put right.
    KeyboardInterrupt
        After Ctrl-C.
    """
    config = workspace.config
    jobs = task.run_settings.jobs or max(1, int(cpu_count()) // task.sharing)
    run_settings = replace(task.run_settings, jobs=jobs, progress=callbacks.progress)
    wanted = device_slots(config.device, config.loss.runs_per_device if task.kind != "crf" else 1)
    with only_machine(workspace), lease(wanted, callbacks.progress) as slot:
        if task.lost_winner:
            train_lost_winner(load_study(workspace.database, task.kind), workspace, run_settings)
        else:
            noting = callbacks.also(asked=(partial(_note_device, slot.device),))
            run_stage(workspace, task.kind, run_settings, task.stop, noting)


def _note_device(device: str, study: optuna.Study, trial: optuna.Trial) -> None:
    trial.set_user_attr(attr.DEVICE, device)


def run_stage(
    workspace: Workspace,
    kind: StudyKind,
    run_settings: RunSettings,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> None:
    """Run one worker's share of a study, and before it whatever is not done yet of what it starts from.

    Without val masks, cam and crf study stay empty, and one run with cross-entropy and w-s3Tseg's CRF goes
    to `runs/final`.

    Raises
    ------
    UserError
        Where the loss study has no complete crf trial to start from, or something else can be put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    if kind == "cam":
        survey, studies = open_studies(workspace, run_settings.progress)
        if attr.UNTUNED in studies["cam"].user_attrs:
            run_settings.progress("cam study", 1, 1, studies["cam"].user_attrs[attr.UNTUNED])
            return
        run_cam_study(studies["cam"], workspace, survey, run_settings, stop=stop, callbacks=callbacks)
        return
    ready = prepare(workspace, run_settings)
    if kind == "crf":
        if attr.UNTUNED in ready.crf.user_attrs:
            run_settings.progress("crf study", 1, 1, ready.crf.user_attrs[attr.UNTUNED])
            return
        run_crf_study(
            ready.crf,
            workspace,
            ready.survey,
            ready.scaling,
            jobs=run_settings.processes,
            stop=stop,
            callbacks=callbacks,
        )
        return
    base = prepare_loss(workspace, ready, run_settings)
    if attr.UNTUNED in ready.loss.user_attrs:
        with workspace.lock(run_settings.progress), storage_errors(workspace.database):
            train_final_run(ready.loss, workspace, base, run_settings)
        return
    run_loss_study(ready.loss, workspace, base, run_settings, stop=stop, callbacks=callbacks)
