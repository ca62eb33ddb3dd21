"""Reads the two studies of a workspace; nothing is written and nothing is created."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from reports.formatting import plain
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.scores import METRICS, class_iou

DATABASE = "study.db"
KINDS = ("crf", "loss")
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
# A failed trial that had no end of its own: Ctrl-C, or its program died; it is run again.
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Trial:
    """One trial as a person reads it.

    Attributes
    ----------
    number : int
    state : str
        A value of `STATES`, or `INTERRUPTED`.
    value : float or None
        The quality of a completed trial: the objective's first value.
    tile_seconds : float or None
        What it is weighed against where the study weighs anything: seconds a tile of the dense CRF.
    params : dict
    name : str or None
        Name of an untuned setting that was enqueued.
    scores : dict
        Score a metric name, recomputed from the confusions where they are stored.
    iou : dict
        IoU a class name; None for a class in neither truth nor prediction.
    confusions : int64 (T, K, K) or None
    seconds : float or None
    joules : float or None
        Energy that the run's GPU used meanwhile.
    reason : str or None
        Why the trial failed or was pruned.
    run : str or None
        Run folder relative to the workspace (loss study).
    seed : int or None
        Seed of the run (loss study).
    setting : str
        Canonical text of the loss and its parameters, without the seed.
    derived_from : int or None
        The trial from whose other numbers of iterations this one was read off.
    taken_from : str or None
        The trial of another workspace that it was taken over from, or whose setting it tries again.
    host : str or None
        Machine that ran it.
    worker : str or None
        Machine and process that ran it.
    device : str or None
        What it ran on, where it was noted.
    intermediate : dict
        Reported values, an epoch each.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    name: str | None = None
    enqueued: bool = False
    scores: dict[str, float | None] = field(default_factory=dict)
    iou: dict[str, float | None] = field(default_factory=dict)
    confusions: NDArray[np.int64] | None = None
    seconds: float | None = None
    joules: float | None = None
    reason: str | None = None
    run: str | None = None
    seed: int | None = None
    setting: str = ""
    retry_of: int | None = None
    derived_from: int | None = None
    taken_from: str | None = None
    host: str | None = None
    worker: str | None = None
    device: str | None = None
    tile_seconds: float | None = None
    intermediate: dict[int, float] = field(default_factory=dict)
    started: datetime | None = None


@dataclass(frozen=True)
class Study:
    """One study and its trials, in the order of their numbers."""

    name: str
    kind: str
    attrs: dict[str, Any]
    trials: tuple[Trial, ...]
    frozen: tuple[FrozenTrial, ...]
    weighs_seconds: bool = False

    @property
    def metric(self) -> str:
        """Name of the metric that the trials maximise."""
        return plain(self.attrs.get("metric", "miou_multiclass"))

    @property
    def metric_note(self) -> str | None:
        """Why the metric is not the usual one."""
        return _text(self.attrs.get("metric_note"))

    @property
    def untuned(self) -> str | None:
        """Why nothing could be tuned."""
        return _text(self.attrs.get("untuned"))

    @property
    def survey(self) -> dict[str, Any]:
        """Name, fingerprint, classes and tile counts of the survey."""
        survey = self.attrs.get("survey")
        return survey if isinstance(survey, dict) else {}

    @property
    def classes(self) -> list[str]:
        """Class names by id."""
        return [plain(name) for name in self.survey.get("classes", [])]

    @property
    def groups(self) -> list[str | None] | None:
        """Strip of each scored tile, or None where the survey does not tell."""
        groups = self.attrs.get("groups")
        return groups if groups and any(group is not None for group in groups) else None

    def in_state(self, state: str) -> list[Trial]:
        """Trials of one state."""
        return [trial for trial in self.trials if trial.state == state]

    @property
    def complete(self) -> list[Trial]:
        """Completed trials that have a value."""
        return [t for t in self.trials if t.state == "complete" and t.value is not None]

    def counts(self) -> dict[str, int]:
        """Count the trials of each state, all states named; those interrupted or read off another apart."""
        own = [trial for trial in self.trials if trial.derived_from is None]
        found = Counter(trial.state for trial in own)
        counts = {state: found[state] for state in STATES.values()}
        more = {INTERRUPTED: found[INTERRUPTED], "derived": len(self.trials) - len(own)}
        return counts | {state: number for state, number in more.items() if number}

    @property
    def progress(self) -> str:
        """Completed trials of all, those left out that were read off another one."""
        own = [trial for trial in self.trials if trial.derived_from is None]
        complete = sum(trial.derived_from is None for trial in self.complete)
        return f"{complete} of {len(own)} {self.kind}"

    def best(self) -> Trial | None:
        """Find the completed trial of the largest value; the earliest of equals."""
        return best_of(self.complete)

    def log_parameters(self) -> set[str]:
        """Parameters that were sampled on a log scale."""
        return {
            name
            for trial in self.frozen
            for name, distribution in trial.distributions.items()
            if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
        }


def best_of(trials: list[Trial]) -> Trial | None:
    """Find the trial of the largest value; the earliest of equals."""
    scored = [trial for trial in trials if trial.value is not None]
    return max(scored, key=lambda trial: (trial.value, -trial.number), default=None)


def read_studies(workspace: Path) -> dict[str, Study]:
    """Read the studies that the workspace's database holds.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`.

    Returns
    -------
    dict
        "crf" and "loss", where they exist, in this order.

    Raises
    ------
    UserError
        Where there is no database, or it is not one of Optuna's.
    """
    path = workspace / DATABASE
    if not path.is_file():
        raise UserError(f"{path} is missing: run `sonarseg tune all` in this workspace first.")
    storage = open_storage(path, "ro")
    try:
        names = optuna.get_all_study_names(storage)
        loaded = {
            kind: optuna.load_study(study_name=kind, storage=storage) for kind in KINDS if kind in names
        }
        return {kind: _read_study(kind, study) for kind, study in loaded.items()}
    finally:
        storage.engine.dispose()


def open_storage(path: Path, mode: str) -> optuna.storages.RDBStorage:
    """Open an SQLite study database that exists; mode "ro" or "rw".

    The file is opened by SQLite's own URI, so no character of its path can be misread.

    Raises
    ------
    UserError
        Where the file is not a study database of this Optuna.
    """
    address = f"file:{quote(str(path.resolve()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=60, check_same_thread=False)

    try:
        with closing(connect()) as probe:
            tables = {row[0] for row in probe.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "studies" not in tables:
            raise UserError(
                f"{path} holds no Optuna study: expected the database that `sonarseg tune` writes."
            )
        return optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect})
    except (sqlite3.DatabaseError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as a study database of this version ({error}).") from error


def _read_study(kind: str, study: optuna.Study) -> Study:
    attrs = study.user_attrs
    frozen = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
    survey = attrs.get("survey")
    classes = [plain(name) for name in survey.get("classes", [])] if isinstance(survey, dict) else []
    trials = tuple(_read_trial(trial, classes, kind) for trial in frozen)
    return Study(study.study_name, kind, attrs, trials, tuple(frozen), len(study.directions) > 1)


def _read_trial(trial: FrozenTrial, classes: list[str], kind: str) -> Trial:
    attrs = trial.user_attrs
    confusions = _confusions(trial, kind)
    scores, iou = _stored_scores(attrs.get("metrics"))
    if confusions is not None:
        scores = {name: metric(confusions) for name, metric in METRICS.items()}
        if len(classes) == confusions.shape[1]:
            iou = dict(zip(classes, class_iou(confusions), strict=True))
    values = trial.values if trial.state is TrialState.COMPLETE and trial.values else [None, None]
    interrupted = trial.state is TrialState.FAIL and attrs.get("interrupted")
    return Trial(
        number=trial.number,
        state=INTERRUPTED if interrupted else STATES[trial.state],
        value=_known(values[0]),
        tile_seconds=_known(values[1]) if len(values) > 1 else None,
        params=trial.params,
        name=_text(attrs.get("name")),
        enqueued=bool(attrs.get("enqueued")),
        scores=scores,
        iou=iou,
        confusions=confusions,
        seconds=_seconds(trial),
        joules=_number(attrs.get("joules")),
        reason=_text(attrs.get("reason")),
        run=attrs.get("run"),
        seed=attrs.get("seed"),
        setting=plain(attrs.get("setting") or sorted(trial.params.items())),
        retry_of=attrs.get("retry_of"),
        derived_from=attrs.get("derived_from"),
        taken_from=_origin(attrs.get("warm_start")),
        host=_host(attrs.get("worker")),
        worker=_worker(attrs.get("worker")),
        device=_text(attrs.get("device")),
        intermediate=dict(trial.intermediate_values),
        started=trial.datetime_start,
    )


def _confusions(trial: FrozenTrial, kind: str) -> NDArray[np.int64] | None:
    text = trial.user_attrs.get("confusions")
    if not text:
        return None
    try:
        return unpack_confusions(text)
    except ValueError as error:
        raise UserError(
            f"{DATABASE}: trial {trial.number} of the {kind} study holds confusions that cannot be read: "
            "the file is damaged, restore it from a copy."
        ) from error


def _stored_scores(metrics: object) -> tuple[dict[str, float | None], dict[str, float | None]]:
    if not isinstance(metrics, dict):
        return {}, {}
    iou = metrics.get("iou")
    per_class = {plain(name): value for name, value in iou.items()} if isinstance(iou, dict) else {}
    return {name: metrics.get(name) for name in METRICS}, per_class


def _seconds(trial: FrozenTrial) -> float | None:
    if "derived_from" in trial.user_attrs:
        return None
    stored = _number(trial.user_attrs.get("seconds"))
    if stored is not None:
        return stored
    return None if trial.duration is None else trial.duration.total_seconds()


def _number(stored: object) -> float | None:
    return float(stored) if isinstance(stored, int | float) else None


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _origin(origin: object) -> str | None:
    """Name a trial of another workspace, without the way to it on the machine where it was."""
    if not isinstance(origin, dict):
        return None
    place = Path(plain(origin.get("database", ""))).parent.name or "another workspace"
    return f"trial {plain(origin.get('trial'))} of {place}"


def _host(identity: object) -> str | None:
    return _text(identity.get("host")) if isinstance(identity, dict) else None


def _worker(identity: object) -> str | None:
    host = _host(identity)
    return f"{host} ({plain(identity.get('pid', '?'))})" if host and isinstance(identity, dict) else None


def _text(value: object) -> str | None:
    return None if value in (None, "") else plain(value)
