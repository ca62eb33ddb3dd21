"""Reads the two studies of a workspace; nothing is written and nothing is created."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from reports.foreign_trials import is_foreign
from reports.study_attributes import refuse_overwritten
from reports.study_records import INTERRUPTED, STATES, Study, Trial, workspace_name
from reports.style.formatting import plain, plain_or_none
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS, class_iou

DATABASE = "study.db"
KINDS = ("crf", "loss")
BUSY_SECONDS = 60
NOT_OURS = "{} does not hold the studies of a workspace: expected the study.db that `sonarseg tune` writes."
REMOVED = (
    "{0} holds no {1} study: it was removed, for example in the dashboard; `sonarseg tune {1}` makes it "
    "again, and keeps the warm-up."
)
Mode = Literal["ro", "rw", "rwc"]
# So long the end of a command waits for others before it leaves their part of the journal to them.
_SETTLE_SECONDS = 2.0
# Files that this process has opened for writing, and those that it has only read
_written = set[Path]()
_read = set[Path]()
_log = logging.getLogger(__name__)


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
        Where there is no database, or it is not one of a workspace.
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
        if not all(_is_ours(kind, study) for kind, study in loaded.items()):
            raise UserError(NOT_OURS.format(path))
        refuse_overwritten(path, loaded)
        return {kind: _read_study(kind, study) for kind, study in loaded.items()}
    finally:
        storage.engine.dispose()


def open_storage(path: Path, mode: Mode) -> optuna.storages.RDBStorage:
    """Open an SQLite study database that exists.

    Raises
    ------
    UserError
        Where the file is not a study database of this Optuna.
    """

    def connect() -> sqlite3.Connection:
        return connect_to(path, mode)

    try:
        refuse_foreign(path)
        return optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect})
    except (sqlite3.DatabaseError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as a study database of this version ({error}).") from error


def connect_to(path: Path, mode: Mode) -> sqlite3.Connection:
    """Connect to an SQLite file by SQLite's own URI, so that no character of its path can be misread.

    In a folder where nothing may be written, SQLite opens a database of many writers (WAL) only as one
    that nobody changes; where somebody is changing it, there is a journal beside it, and it is shared.
    """
    journal = path.with_name(path.name + "-wal")
    sealed = not os.access(path.parent, os.W_OK) and not journal.exists()
    query = "immutable=1" if sealed else f"mode={mode}"
    if not sealed:
        (_read if mode == "ro" else _written).add(path.resolve())
    address = f"file:{quote(str(path.resolve()))}?{query}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)


def settle(is_worked_on: Callable[[Path], bool]) -> None:
    """Move what stands in the journals of the opened files into the files, so that each is whole by itself.

    What other programs are reading or writing just now stays in the journal, and moves when they end. The
    journal of a file that was only read may be that of a program that was killed.

    Parameters
    ----------
    is_worked_on : callable
        Whether another program writes into the studies of a folder; files there that were only read are
        left alone.
    """
    for path in sorted(_written | _read):
        if not (path.is_file() and path.with_name(path.name + "-wal").exists()):
            continue
        only_read = path not in _written
        if only_read and (not _may_write(path) or is_worked_on(path.parent)):
            continue
        try:
            _checkpoint(path)
        except sqlite3.OperationalError as error:
            _log.warning("%s-wal belongs to %s (%s): copy both.", path, path.name, error)
    _written.clear()
    _read.clear()


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _checkpoint(path: Path) -> None:
    with closing(connect_to(path, "rw")) as connection:
        connection.execute(f"PRAGMA busy_timeout={int(1000 * _SETTLE_SECONDS)}")
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def refuse_foreign(path: Path) -> None:
    """Look before Optuna does, which makes its tables in whatever database it is shown.

    Raises
    ------
    UserError
        Where the file is the database of something else.
    """
    with closing(connect_to(path, "ro")) as probe:
        tables = {row[0] for row in probe.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"studies", "version_info"} <= tables:
        raise UserError(NOT_OURS.format(path))


def _is_ours(kind: str, study: optuna.Study) -> bool:
    # What a study is may be noted a moment after it was made, on a server.
    return study.user_attrs.get(attr.KIND) == kind or not study.get_trials(deepcopy=False)


def _read_study(kind: str, study: optuna.Study) -> Study:
    attrs = study.user_attrs
    frozen = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
    survey = attrs.get(attr.SURVEY)
    classes = [plain(name) for name in survey.get("classes", [])] if isinstance(survey, dict) else []
    objectives = len(study.directions)
    foreign = {trial.number for trial in frozen if is_foreign(trial, {**attrs, "kind": kind}, objectives)}
    own = tuple(trial for trial in frozen if trial.number not in foreign)
    unscored = {plain(name) for name in attrs.get(attr.UNSCORED) or []}
    trials = tuple(_read_trial(trial, classes, kind, unscored) for trial in own)
    return Study(study.study_name, kind, attrs, trials, own, objectives > 1, tuple(sorted(foreign)))


def _read_trial(trial: FrozenTrial, classes: list[str], kind: str, unscored: set[str]) -> Trial:
    attrs = trial.user_attrs
    confusions = _confusions(trial, kind, attr.CONFUSIONS)
    scores, iou = _stored_scores(attrs.get(attr.SCORES))
    if confusions is not None:
        scores = {name: metric(confusions) for name, metric in METRICS.items()}
        if len(classes) == confusions.shape[1]:
            iou = dict(zip(classes, class_iou(confusions), strict=True))
    values = trial.values if trial.state is TrialState.COMPLETE and trial.values else [None, None]
    interrupted = trial.state is TrialState.FAIL and attrs.get(attr.INTERRUPTED)
    return Trial(
        number=trial.number,
        state=INTERRUPTED if interrupted else STATES[trial.state],
        value=_known(values[0]),
        tile_seconds=_known(values[1]) if len(values) > 1 else None,
        params=trial.params,
        name=plain_or_none(attrs.get(attr.NAME)),
        enqueued=bool(attrs.get(attr.ENQUEUED)),
        scores=scores,
        iou={name: None if name in unscored else value for name, value in iou.items()},
        confusions=confusions,
        confusions_shown=_confusions(trial, kind, attr.CONFUSIONS_SHOWN),
        seconds=_seconds(trial),
        joules=_number(attrs.get(attr.JOULES)),
        reason=plain_or_none(attrs.get(attr.REASON)),
        run=attrs.get(attr.RUN),
        seed=attrs.get(attr.SEED),
        setting=plain(attrs.get(attr.SETTING) or sorted(trial.params.items())),
        retry_of=attrs.get(attr.RETRY_OF),
        derived_from=attrs.get(attr.DERIVED),
        drawn_at_random=attrs.get(attr.PROPOSAL) == "random",
        finished_race=bool(attrs.get(attr.FINISHED_RACE)),
        taken_from=_origin(attrs.get(attr.ORIGIN)),
        inherited=_is_inherited(attrs.get(attr.ORIGIN)),
        host=_host(attrs.get(attr.WORKER)),
        worker=_worker(attrs.get(attr.WORKER)),
        device=plain_or_none(attrs.get(attr.DEVICE)),
        intermediate={
            step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)
        },
        started=trial.datetime_start,
    )


def _confusions(trial: FrozenTrial, kind: str, name: str) -> NDArray[np.int64] | None:
    text = trial.user_attrs.get(name)
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
    """Time that a trial took here; None where nobody knows it or another trial counts it."""
    attrs = trial.user_attrs
    read_off = attr.DERIVED in attrs and not attrs.get(attr.FINISHED_RACE)
    if read_off or _is_inherited(attrs.get(attr.ORIGIN)):
        return None
    # An interrupted run is gone on with, and its time counted, by the next trial.
    if attrs.get(attr.INTERRUPTED):
        return None
    stored = _number(attrs.get(attr.SECONDS))
    if stored is not None:
        return stored
    # The end of a trial whose program died is when that was noticed, perhaps days later.
    died = trial.state is TrialState.FAIL and attr.DEATHS in attrs
    return None if died or trial.duration is None else trial.duration.total_seconds()


def _number(stored: object) -> float | None:
    return float(stored) if isinstance(stored, int | float) else None


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _origin(origin: object) -> str | None:
    """Name a trial of another workspace, without the way to it on the machine where it was."""
    if not isinstance(origin, dict):
        return None
    return f"trial {plain(origin.get('trial'))} of {workspace_name(origin.get('database', ''))}"


def _is_inherited(origin: object) -> bool:
    return isinstance(origin, dict) and bool(origin.get("complete"))


def _host(identity: object) -> str | None:
    return plain_or_none(identity.get("host")) if isinstance(identity, dict) else None


def _worker(identity: object) -> str | None:
    host = _host(identity)
    return f"{host} ({plain(identity.get('pid', '?'))})" if host and isinstance(identity, dict) else None
