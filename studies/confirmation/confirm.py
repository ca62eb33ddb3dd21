"""Confirm a study's winner against the baseline: new seeds, and the test split where that is asked for."""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from objectives.outcome import TrialFailed
from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from objectives.records.trial import run_of_rounds
from objectives.space import setting_text
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.evaluation import Evaluation, evaluate_crf, evaluate_run
from sonarseg.files.settings import read_settings
from sonarseg.files.whole import write_atomically
from sonarseg.losses.config import LossConfig
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey
from sonarseg.training.run_folder.config import CONFIG
from studies.confirmation.contenders import Contender, contenders, slug
from studies.confirmation.record import begin_record, new_seeds, results_of
from studies.stages.batch_size import study_batch_size
from studies.stages.device_work import on_device
from studies.stages.prepare import Prepared, first_pseudo_labels, prepare
from studies.stages.run_of_trial import with_rounds
from studies.stages.run_settings import DEFAULT_RUN_SETTINGS, RunSettings
from studies.stages.warm_up import run_config
from studies.storage.open import storage_errors
from studies.storage.openings import log_test_opening
from studies.storage.single_host import only_machine
from studies.storage.snapshot import refresh_snapshot
from studies.trials.ask_lock import ask_lock
from studies.workers.leases import device_slots, lease
from studies.workspace import Workspace


@dataclass
class TestOpening:
    """A command that reads the masks of test.

    Attributes
    ----------
    what : str
        The command, as the log names it.
    logged : bool
        Whether the log has it.
    """

    what: str
    logged: bool = False
    __test__ = False  # no test of pytest's, whatever its name


def confirm(
    workspace: Workspace,
    kind: StudyKind,
    *,
    against: tuple[str, CrfParameters] | None = None,
    seeds: int = 5,
    test: bool = False,
    opening: TestOpening | None = None,
    run_settings: RunSettings = DEFAULT_RUN_SETTINGS,
) -> dict[str, Any]:
    """Measure the winner and the baseline again, and store the outcome with the study.

    "loss" trains both, each with `seeds` new seeds: the winning loss on pseudo-labels of the tuned
    dense CRF, and cross-entropy on those of the untuned one. "crf" scores the pseudo-labels of both
    dense CRF settings, which have no seed. What is there already is not measured again, so the same
    call resumes.

    Parameters
    ----------
    workspace : Workspace
        With complete trials in the study.
    kind : {"crf", "loss"}
        The study.
    against : (str, CrfParameters), optional
        The untuned dense CRF setting; by default the one that was best in the crf study.
    seeds : int
        New seeds per side.
    test : bool
        Score the test split too.
    opening : TestOpening, optional
        The command that opens test; one command that confirms both studies is logged once.
    run_settings : RunSettings
        How runs are started and shown.

    Returns
    -------
    dict
        What is stored as the study's user attribute `confirm`.

    Raises
    ------
    UserError
        Where there is no winner yet, it is the baseline itself, or the split has no masks.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    with only_machine(workspace):
        opened = opening or TestOpening(f"sonarseg confirm --study {kind} --split test")
        return _confirm(workspace, kind, against, seeds, opened if test else None, run_settings)


def _confirm(
    workspace: Workspace,
    kind: StudyKind,
    against: tuple[str, CrfParameters] | None,
    seeds: int,
    test: TestOpening | None,
    run_settings: RunSettings,
) -> dict[str, Any]:
    winner, baseline = contenders(workspace, kind, against)
    # The device first, as workers do: two that each hold what the other waits for would wait for ever.
    places = device_slots(workspace.config.device, workspace.config.loss.runs_per_device)
    with ExitStack() as held:
        held.enter_context(lease(places, run_settings.progress))
        ready = prepare(workspace, run_settings)
        study = {"crf": ready.crf, "loss": ready.loss}[kind]
        held.enter_context(workspace.lock(run_settings.progress))
        held.enter_context(storage_errors(workspace.database))
        numbers: list[int | None] = new_seeds(workspace.config.seed, seeds) if kind == "loss" else [None]
        record = begin_record(study, winner, baseline, numbers)
        work = [(contender, seed) for seed in numbers for contender in (winner, baseline)]
        measuring = _Measuring(workspace, ready, study, record, run_settings)
        for contender, seed in work:
            measuring.on_val(contender, seed)
        if test is not None:
            measuring.on_test(work, test)
        found = measuring.finish()
        refresh_snapshot(workspace)
        return found


def _evaluated(folder: Path, survey: Survey, split: str, device: str, *, progress: Progress) -> Evaluation:
    return evaluate_run(folder, survey, split, device=device)


class _Measuring:
    """Trains and scores, and stores the record after every step."""

    def __init__(
        self,
        workspace: Workspace,
        ready: Prepared,
        study: optuna.Study,
        record: dict[str, Any],
        run_settings: RunSettings,
    ) -> None:
        self.workspace, self.ready, self.study = workspace, ready, study
        self.record, self.run_settings = record, run_settings
        self.engine = pick_engine(workspace.config.crf.engine, workspace.config.device)

    def on_val(self, contender: Contender, seed: int | None) -> None:
        """Train where the contender is trained, and score it on val."""
        run = self._run(contender, seed)
        if "val" in run["confusions"]:
            return
        if contender.loss is None:
            self._note(run, self._crf(contender, self.ready.survey, "val"))
            return
        try:
            self._train(contender, contender.loss, seed, run)
        except TrialFailed as failed:
            run["reason"] = str(failed)
            self._store()
            return
        folder = self.workspace.root / run["run"]
        self._note(run, self._run_scored(folder, self.ready.survey, "val"))

    def on_test(self, work: list[tuple[Contender, int | None]], opening: TestOpening) -> None:
        """Score on test what has not been yet; without anything to score it stays closed."""
        left = [
            (contender, run)
            for contender, seed in work
            if "test" not in (run := self._run(contender, seed))["confusions"] and run["reason"] is None
        ]
        if not left:
            return
        survey = self.ready.survey.with_masks_of("test")
        for done, (contender, run) in enumerate(left):
            self.run_settings.progress("scoring on test", done, len(left), contender.name)
            if contender.loss is None:
                evaluation = self._crf(contender, survey, "test")
            else:
                folder = self.workspace.root / run["run"]
                evaluation = self._run_scored(folder, survey, "test")
            self._log(opening)
            self._note(run, evaluation)
        self.run_settings.progress("scoring on test", len(left), len(left))

    def _log(self, opening: TestOpening) -> None:
        """Log once per command that masks of test have been read; the workspace is held meanwhile."""
        if opening.logged:
            return
        database = self.workspace.database
        # On a server the workspace's own lock does not keep other machines out.
        with nullcontext() if isinstance(database, Path) else ask_lock(self.study, self.workspace):
            log_test_opening(self.workspace, opening.what)
        opening.logged = True

    def finish(self) -> dict[str, Any]:
        """Compute differences and intervals and store them."""
        self.record["results"] = results_of(self.record)
        self.record["finished"] = all(run["reason"] is None for run in self.record["runs"])
        self._store()
        return self.record

    def _run(self, contender: Contender, seed: int | None) -> dict[str, Any]:
        runs: list[dict[str, Any]] = self.record["runs"]
        return next(run for run in runs if (run["role"], run["seed"]) == (contender.role, seed))

    def _run_scored(self, folder: Path, survey: Survey, split: str) -> Evaluation:
        device = self.workspace.config.device
        call = partial(_evaluated, folder, survey, split, device)
        return on_device(device, call, self.run_settings.progress)

    def _crf(self, contender: Contender, survey: Survey, split: str) -> Evaluation:
        from sonarseg.cam.extract_split import extract_cams

        workspace, progress = self.workspace, self.run_settings.progress
        device, cams_dir = workspace.config.device, workspace.cams_dir
        extracted = partial(extract_cams, workspace.warm_up_dir, survey, [split], cams_dir, device)
        if not (cams_dir / split).is_dir():
            on_device(device, extracted, progress)
        scored = partial(
            evaluate_crf,
            survey,
            split,
            cams_dir,
            contender.crf,
            self.ready.scaling,
            cam=workspace.settled.cam,
            engine=self.engine,
            jobs=self.run_settings.processes,
        )
        return on_device(self.engine.device, scored, progress)

    def _train(self, contender: Contender, loss: LossConfig, seed: int | None, run: dict[str, Any]) -> None:
        """Train in a run folder named after what is trained, or go on with it."""
        workspace, run_settings = self.workspace, self.run_settings
        config = run_config(
            workspace,
            self.ready.scaling,
            stage="self-training",
            warm_up="../warm-up",
            first_pseudo_labels=first_pseudo_labels(
                workspace, self.ready, contender.crf_name, contender.crf, run_settings
            ),
            crf=contender.crf,
            loss=loss,
            seed=seed,
        )
        batch_size = study_batch_size(self.ready.loss, workspace.config)
        whole = config.training.rounds
        training = config.training.model_copy(update={"batch_size": batch_size})
        config = with_rounds(config.model_copy(update={"training": training}), contender.rounds)
        text = config.model_dump_json(indent=1) + "\n"
        name = f"confirm-{slug(setting_text(loss))}-{contender.crf_name}-{seed}"
        if config.training.rounds != whole:
            name = run_of_rounds(name, config.training.rounds)
        folder = workspace.runs_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CONFIG).is_file():
            write_atomically(folder / CONFIG, text)
        elif read_settings(folder / CONFIG)[0] != json.loads(text):
            raise UserError(
                f"{folder / CONFIG} has other settings than this confirmation: move the folder away and "
                "run the same command again."
            )
        run |= {"run": folder.relative_to(workspace.root).as_posix(), "reason": None}
        total = config.training.rounds * config.training.epochs_per_round
        title = f"{contender.role} ({contender.name}), seed {seed}"
        run_settings.progress(title, 0, total, "")
        run_settings.follow(folder, title, total)

    def _note(self, run: dict[str, Any], evaluation: Evaluation) -> None:
        run["confusions"][evaluation.split] = pack_confusions(evaluation.confusions)
        self.record["tiles"][evaluation.split] = list(evaluation.tiles)
        self.record["groups"][evaluation.split] = list(evaluation.groups)
        self._store()

    def _store(self) -> None:
        self.record["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.study.set_user_attr(attr.CONFIRM, self.record)
