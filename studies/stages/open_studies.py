"""The two stages, as one worker sees them: warm-up, CAMs, crf study; first pseudo-labels, loss study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from joblib import cpu_count
from optuna.trial import TrialState

from objectives.outcome import TrialFailed
from objectives.records import attributes as attr
from objectives.run_monitor import DEFAULT_TIMING, RUN_COMMAND, Timing, follow_run
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import published
from sonarseg.errors import UserError
from sonarseg.files.whole import write_atomically
from sonarseg.losses.config import LossConfig
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY, read_summary
from sonarseg.training.targets.pseudo_labels import make_pseudo_labels
from studies.compatibility import check_compatible, describe, directions_of
from studies.stages.batch_size import follow_with_fitting_batches, note_batch_size, study_batch_size
from studies.stages.crf import best_crf_trial, run_crf_study
from studies.stages.loss import run_loss_study
from studies.stages.masks_drawn_later import take_masks_in
from studies.stages.warm_up import extract_workspace_cams, run_config, warm_up
from studies.storage.open import (
    StudyKind,
    create_database,
    create_removed,
    has_studies,
    load_studies,
    storage_errors,
)
from studies.trials.loop import TrialCallbacks, finished
from studies.trials.stopping import StopRules
from studies.workspace import Workspace

UNTUNED_CRF = "w-s3Tseg"


@dataclass(frozen=True)
class RunSettings:
    """How the pipeline works, apart from what study.toml says.

    Attributes
    ----------
    jobs : int
        Processes of the dense CRF; 0 is one for each processor core.
    command : sequence of str
        The run program.
    timing : Timing
        How often to look at a run, how long to wait for its end.
    progress : Progress
        Called at every step.
    """

    jobs: int = 0
    command: Sequence[str] = RUN_COMMAND
    timing: Timing = DEFAULT_TIMING
    progress: Progress = silent

    @property
    def processes(self) -> int:
        """Processes, counted."""
        return self.jobs or int(cpu_count())


DEFAULT_RUN_SETTINGS = RunSettings()


@dataclass(frozen=True)
class Prepared:
    """What both stages start from: survey, scaling and the two studies."""

    survey: Survey
    scaling: GreyScaling
    crf: optuna.Study
    loss: optuna.Study


def open_studies(
    workspace: Workspace, progress: Progress = silent
) -> tuple[Survey, dict[StudyKind, optuna.Study]]:
    """Make the database where there is none; else check that it still fits survey and study.toml.

    Raises
    ------
    UserError
        Where the workspace cannot be written to, or new trials could not be compared with old ones.
    """
    survey = workspace.survey()
    path, config = workspace.database, workspace.config
    # Every file is read for it, now: nobody else should have to wait for that.
    progress("hashing the survey", 0, 0, "")
    survey.fingerprint  # noqa: B018
    progress("opening the studies", 0, 0, "")
    with workspace.lock(progress), storage_errors(path):
        if not has_studies(path):
            create_database(path, describe(survey, config), directions_of(config))
        elif isinstance(path, Path):
            for kind in create_removed(path, describe(survey, config), directions_of(config)):
                progress(f"{kind} study", 0, 1, "was removed, and begins again; the warm-up is kept")
        studies = load_studies(path)
        if masks := take_masks_in(studies, survey, config):
            progress("val", masks, masks, "tiles have masks now, so settings are tuned; the warm-up is kept")
        for study in studies.values():
            check_compatible(study, survey, config, str(workspace.root))
            if study.user_attrs[attr.CONFIG] != config.model_dump(mode="json"):
                study.set_user_attr(attr.CONFIG, config.model_dump(mode="json"))
    return survey, studies


def prepare(workspace: Workspace, run_settings: RunSettings = DEFAULT_RUN_SETTINGS) -> Prepared:
    """Open the studies, train the warm-up and extract the CAMs, unless that is done.

    Raises
    ------
    UserError
        Where something is wrong with the input or the warm-up failed.
    """
    survey, studies = open_studies(workspace, run_settings.progress)
    with workspace.lock(run_settings.progress), storage_errors(workspace.database):
        try:
            scaling = warm_up(
                workspace,
                survey,
                command=run_settings.command,
                timing=run_settings.timing,
                progress=run_settings.progress,
            )
        except TrialFailed as error:
            raise UserError(f"the warm-up in {workspace.warm_up_dir} failed: {error}") from error
        summary = read_summary(workspace.warm_up_dir)
        note_batch_size(studies["loss"], workspace.config, summary)
        device = summary["device"]
        for study in studies.values():
            if study.user_attrs[attr.DEVICE] != device:
                study.set_user_attr(attr.DEVICE, device)
        extract_workspace_cams(workspace, survey, run_settings.progress)
    return Prepared(survey, scaling, studies["crf"], studies["loss"])


def run_stage(
    workspace: Workspace,
    kind: StudyKind,
    run_settings: RunSettings,
    stop: StopRules,
    callbacks: TrialCallbacks,
) -> optuna.Study:
    """Run one worker's share of a study, and before it whatever is not done yet of what it starts from.

    Without val masks, the crf study stays empty, and one run with cross-entropy and w-s3Tseg's CRF goes
    to `runs/final`.

    Raises
    ------
    UserError
        Where the loss study has no complete crf trial to start from, or something else can be put right.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    ready = prepare(workspace, run_settings)
    if kind == "crf":
        if attr.UNTUNED in ready.crf.user_attrs:
            run_settings.progress("crf study", 1, 1, ready.crf.user_attrs[attr.UNTUNED])
            return ready.crf
        run_crf_study(
            ready.crf,
            workspace,
            ready.survey,
            ready.scaling,
            jobs=run_settings.processes,
            stop=stop,
            callbacks=callbacks,
        )
        return ready.crf
    base = prepare_loss(workspace, ready, run_settings)
    if attr.UNTUNED in ready.loss.user_attrs:
        with workspace.lock(run_settings.progress), storage_errors(workspace.database):
            _final_run(workspace, ready.loss, base, run_settings)
        return ready.loss
    return run_loss_study(
        ready.loss,
        workspace,
        base,
        command=run_settings.command,
        timing=run_settings.timing,
        stop=stop,
        callbacks=callbacks,
    )


def prepare_loss(
    workspace: Workspace, ready: Prepared, run_settings: RunSettings = DEFAULT_RUN_SETTINGS
) -> RunConfig:
    """Choose the dense CRF of all runs, make the first pseudo-labels, and configure what runs share.

    Raises
    ------
    UserError
        Where the crf study has no complete trial.
    """
    with workspace.lock(run_settings.progress), storage_errors(workspace.database):
        name, parameters = _crf_for_runs(workspace, ready, run_settings.progress)
        _first_pseudo_labels(workspace, ready, name, parameters, run_settings)
    return run_config(
        workspace,
        ready.scaling,
        stage="self-training",
        warm_up="../warm-up",
        first_pseudo_labels=f"../../{workspace.pseudo_labels_dir.name}/{name}",
        crf=parameters,
    )


def _crf_for_runs(workspace: Workspace, ready: Prepared, progress: Progress) -> tuple[str, CrfParameters]:
    """Choose the dense CRF setting of all runs, and its folder of pseudo-labels.

    It is the crf study's best at the time of the first loss trial: losses are compared on equal
    pseudo-labels, even where the crf study went on later.
    """
    study = ready.loss
    if attr.UNTUNED in study.user_attrs:
        return UNTUNED_CRF, published(UNTUNED_CRF, ready.scaling.channels)
    best = best_crf_trial(ready.crf)
    chosen = study.user_attrs.get(attr.CRF)
    begun = any(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    if chosen is None or (not begun and chosen["trial"] != best.number):
        chosen = {
            "trial": best.number,
            "parameters": CrfParameters.model_validate(best.params).model_dump(mode="json"),
        }
        study.set_user_attr(attr.CRF, chosen)
    elif chosen["trial"] != best.number:
        progress(
            "loss study",
            len(finished(study)),
            workspace.config.loss.trials,
            f"goes on with crf trial {chosen['trial']}, which was the best when it began",
        )
    return f"crf-{chosen['trial']:04d}", CrfParameters.model_validate(chosen["parameters"])


def _first_pseudo_labels(
    workspace: Workspace,
    ready: Prepared,
    name: str,
    parameters: CrfParameters,
    run_settings: RunSettings,
) -> None:
    """Make the first round's pseudo-labels of the train tiles once for all runs."""
    folder: Path = workspace.pseudo_labels_dir / name
    if folder.is_dir():
        return
    make_pseudo_labels(
        ready.survey,
        ready.survey.splits["train"],
        workspace.cams_dir / "train",
        folder,
        parameters,
        ready.scaling,
        engine=pick_engine(workspace.config.crf.engine, workspace.config.device),
        jobs=run_settings.processes,
        progress=run_settings.progress,
    )


def _final_run(workspace: Workspace, study: optuna.Study, base: RunConfig, run_settings: RunSettings) -> None:
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
    follow = partial(
        follow_run,
        run_dir,
        lambda line: run_settings.progress(
            "final run", line["epoch"], total, f"segmentation loss {line['loss_segmentation']:.3f}"
        ),
        command=run_settings.command,
        timing=run_settings.timing,
    )
    try:
        follow_with_fitting_batches(run_dir, follow, run_settings.progress)
    except TrialFailed as error:
        raise UserError(f"the run in {run_dir} failed: {error}") from error
