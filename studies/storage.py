"""The study database: one SQLite file with the studies "crf" and "loss"."""

from __future__ import annotations

import errno
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from sqlalchemy.pool import QueuePool

from sonarseg.errors import UserError

StudyKind = Literal["crf", "loss"]
KINDS: tuple[StudyKind, ...] = ("crf", "loss")
BUSY_SECONDS = 60
# What the operating system says where it will not write.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def open_storage(path: Path) -> RDBStorage:
    """Open a database that `create_database` made.

    Raises
    ------
    UserError
        Where the file is missing, is no study database, or cannot be opened.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: start a study with `sonarseg tune all {path.parent}`.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path):
        try:
            return _open(path)
        except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
            if isinstance(error, sqlalchemy.exc.OperationalError):
                raise
            raise UserError(
                f"{path} is not a study database that this version reads: use a new workspace."
            ) from error


def _open(path: Path) -> RDBStorage:
    # The file is opened by its path: in a URL, a "?" or "%" in a folder's name would be misread.
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        # In WAL mode a commit survives a crash of the program without a flush of the disk each time.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    return RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": QueuePool})


def create_database(path: Path, user_attrs: Mapping[StudyKind, Mapping[str, Any]]) -> None:
    """Make the database with both studies and what is known of them; it appears whole or not at all.

    Parameters
    ----------
    path : Path
        Where it goes.
    user_attrs : mapping
        User attributes of each study.

    Raises
    ------
    UserError
        Where it cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    partial = path.with_name(path.name + ".partial")
    with storage_errors(path):
        _remove_database(partial)
        try:
            storage = _open(partial)
            for kind, attributes in user_attrs.items():
                study = optuna.create_study(storage=storage, study_name=kind, direction="maximize")
                for name, value in attributes.items():
                    study.set_user_attr(name, value)
            storage.engine.dispose()
            with closing(sqlite3.connect(partial)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            # A journal left from a database that was deleted would be played into this one.
            _remove_database(path)
            partial.replace(path)
        finally:
            _remove_database(partial)


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def load_study(path: Path, kind: StudyKind) -> optuna.Study:
    """Load one of the two studies.

    Raises
    ------
    UserError
        Where there is no such database or study.
    """
    return _load(path, (kind,))[kind]


def load_studies(path: Path) -> dict[StudyKind, optuna.Study]:
    """Load both studies, which takes no longer than loading one.

    Raises
    ------
    UserError
        Where there is no such database or study.
    """
    return _load(path, KINDS)


def _load(path: Path, kinds: tuple[StudyKind, ...]) -> dict[StudyKind, optuna.Study]:
    storage = open_storage(path)
    try:
        return {kind: optuna.load_study(study_name=kind, storage=storage) for kind in kinds}
    except KeyError as error:
        raise UserError(f"{path} does not hold the studies of a workspace: use a new one.") from error


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a disk that cannot be written to into one sentence.

    Raises
    ------
    UserError
        In place of errors of the database, and of the operating system where it will not write.
    """
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlite3.OperationalError, StorageInternalError) as error:
        raise UserError(
            f"{path} cannot be used ({_cause(error)}): "
            "free the disk, or put the workspace where you may write, and start again."
        ) from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise UserError(
            f"{error.filename or path.parent} cannot be used ({error.strerror or error}): "
            "free the disk, or put the workspace where you may write, and start again."
        ) from error


def _cause(error: BaseException) -> str:
    """Find what SQLite itself said, without the statement that Optuna and SQLAlchemy print around it."""
    innermost: BaseException = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    original = getattr(innermost, "orig", None)
    return str(original or innermost)


def tpe_sampler(seed: int, trials_so_far: int, budget: int, named: int) -> TPESampler:
    """TPE over the joint, conditional space.

    A sixth of the budget is drawn at random behind the named settings: they alone never show
    choices that no published work has made (a filtered guide image, say). A resumed study must not
    draw the same numbers again, so the seed moves on with the trials.

    Parameters
    ----------
    seed : int
        Seed of the study.
    trials_so_far : int
        Trials in the database, in any state.
    budget : int
        Trials of the whole study.
    named : int
        Named settings with which the study starts, and trials derived from them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            multivariate=True,
            group=True,
            n_startup_trials=named + min(10, budget // 6),
            seed=(seed * 1_000_003 + trials_so_far) % 2**32,
        )


def log_test_opening(path: Path, what: str) -> None:
    """Write into both studies that the masks of the test split were opened.

    Parameters
    ----------
    path : Path
        The database; where there is none yet, there is nothing to log into.
    what : str
        What was scored.
    """
    if not path.is_file():
        return
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "what": what}
    with storage_errors(path):
        for study in load_studies(path).values():
            study.set_user_attr("test_openings", [*study.user_attrs.get("test_openings", []), entry])
