"""The study database: the studies of a workspace, in one SQLite file or on a server."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import RDBStorage

from objectives.records import attributes as attr
from objectives.records.overwritten import refuse_overwritten
from objectives.records.read import REMOVED
from objectives.records.sqlite import NOT_OURS, refuse_foreign
from objectives.records.study import KINDS, REQUIRED, Direction, StudyKind
from sonarseg.errors import UserError
from studies.server_address import Location, ServerAddress
from studies.storage.own_trials import OwnStudy
from studies.storage.server import open_server
from studies.storage.sqlite import SqliteStorage

_MAXIMIZE: tuple[Direction, ...] = ("maximize",)
_ADVICE: dict[type, str] = {
    ServerAddress: "see that the server runs and has room",
    type(Path()): "free the disk, or put the workspace where you may write",
}
# What the operating system says where it will not write.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def open_storage(path: Location) -> RDBStorage:
    """Open a database that `create_database` made.

    Raises
    ------
    UserError
        Where the file is missing, is no study database, or cannot be opened; where the server does
        not answer.
    """
    if isinstance(path, ServerAddress):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return open_server(path)
    if not path.is_file():
        raise _missing(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(path):
        try:
            refuse_foreign(path)
            return SqliteStorage(path, create=False)
        except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError, RuntimeError) as error:
            if not path.is_file():
                # It was moved away meanwhile.
                raise _missing(path) from error
            if isinstance(error, sqlite3.OperationalError | sqlalchemy.exc.OperationalError):
                raise
            raise UserError(
                f"{path} cannot be read as a study database of this version ({_cause(error)}): put a copy of "
                "it back if it was damaged, or use a new workspace."
            ) from error


def _missing(path: Path) -> UserError:
    return UserError(f"{path} is missing: start a study with `sonarseg tune all {path.parent}`.")


def create_database(
    location: Location,
    user_attrs: Mapping[StudyKind, Mapping[str, Any]],
    directions: Mapping[StudyKind, Sequence[Direction]] = MappingProxyType({}),
) -> None:
    """Make the studies and note what is known of them; a file appears whole or not at all.

    Parameters
    ----------
    location : Path or ServerAddress
        Where they go. On a server, studies that are there already are left as they are.
    user_attrs : mapping
        User attributes of each study.
    directions : mapping
        Of a study with several objectives; without, a study maximises one.

    Raises
    ------
    UserError
        Where they cannot be written.
    """
    if isinstance(location, ServerAddress):
        with storage_errors(location):
            _create_on_server(location, user_attrs, directions)
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    partial = location.with_name(location.name + ".partial")
    with storage_errors(location):
        remove_database(partial)
        try:
            storage = SqliteStorage(partial)
            for kind, attributes in user_attrs.items():
                _create_study(storage, kind, attributes, directions.get(kind, _MAXIMIZE))
            storage.engine.dispose()
            with closing(sqlite3.connect(partial)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            # A journal left from a database that was deleted would be played into this one.
            remove_database(location)
            partial.replace(location)
        finally:
            remove_database(partial)


def _create_study(
    storage: RDBStorage, name: str, attributes: Mapping[str, Any], directions: Sequence[Direction]
) -> None:
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    for key, value in attributes.items():
        study.set_user_attr(key, value)


def _create_on_server(
    address: ServerAddress,
    user_attrs: Mapping[StudyKind, Mapping[str, Any]],
    directions: Mapping[StudyKind, Sequence[Direction]],
) -> None:
    storage = open_storage(address)
    for kind, attributes in user_attrs.items():
        try:
            name = study_name(address, kind)
            _create_study(storage, name, attributes, directions.get(kind, _MAXIMIZE))
        except DuplicatedStudyError:
            # Another machine was first; whether its study fits is checked where studies are opened.
            continue


def study_name(location: Location, kind: StudyKind) -> str:
    """Name a study in its storage: a server holds those of many workspaces."""
    return kind if isinstance(location, Path) else f"{location.name}/{kind}"


def has_studies(location: Location, kinds: Collection[StudyKind] = REQUIRED) -> bool:
    """Whether the studies of a workspace have begun; some in a file may be missing."""
    if isinstance(location, Path):
        return location.is_file()
    with storage_errors(location):
        names = set(optuna.get_all_study_names(open_storage(location)))
    return all(study_name(location, kind) in names for kind in kinds)


def create_missing(
    path: Path,
    user_attrs: Mapping[StudyKind, Mapping[str, Any]],
    directions: Mapping[StudyKind, Sequence[Direction]] = MappingProxyType({}),
) -> list[StudyKind]:
    """Make the studies that a file lacks, such as one that was removed in the dashboard; give their kinds.

    Raises
    ------
    UserError
        If the file holds studies of another program only.
    """
    storage = open_storage(path)
    names = set(optuna.get_all_study_names(storage))
    missing = [kind for kind in user_attrs if kind not in names]
    if len(missing) == len(user_attrs) and names and not _holds_ours(storage):
        raise UserError(NOT_OURS.format(path))
    for kind in missing:
        _create_study(storage, kind, user_attrs[kind], directions.get(kind, _MAXIMIZE))
    return missing


def _holds_ours(storage: RDBStorage) -> bool:
    """Whether there is at least a superseded study."""
    return any(study.user_attrs.get(attr.KIND) in KINDS for study in storage.get_all_studies())


def remove_database(path: Path) -> None:
    """Delete a SQLite file and its journals, as far as they are there."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def load_study(path: Location, kind: StudyKind) -> optuna.Study:
    """Load one of the studies.

    Raises
    ------
    UserError
        Where there is no such database or study.
    """
    return _loaded(path, (kind,))[kind]


def load_studies(path: Location) -> dict[StudyKind, optuna.Study]:
    """Load the studies, which takes no longer than loading one; the cam study if it is there.

    Raises
    ------
    UserError
        Where there is no such database or study.
    """
    return _loaded(path, REQUIRED, KINDS)


def present_studies(path: Location) -> dict[StudyKind, optuna.Study]:
    """Load the studies that are there: one may have been removed.

    Raises
    ------
    UserError
        If there is no such database, or it is not ours.
    """
    return _load(path, KINDS)


def _loaded(
    path: Location, kinds: tuple[StudyKind, ...], wanted: tuple[StudyKind, ...] = ()
) -> dict[StudyKind, optuna.Study]:
    found = _load(path, wanted or kinds)
    for kind in kinds:
        if kind not in found:
            raise UserError(REMOVED.format(path, kind))
    return found


def _load(path: Location, kinds: tuple[StudyKind, ...]) -> dict[StudyKind, optuna.Study]:
    storage = open_storage(path)
    names = set(optuna.get_all_study_names(storage))
    found: dict[StudyKind, optuna.Study] = {
        kind: OwnStudy(name, storage) for kind in kinds if (name := study_name(path, kind)) in names
    }
    # On a server another machine may be about to note what its studies are.
    if isinstance(path, Path) and any(
        study.user_attrs.get(attr.KIND) != kind for kind, study in found.items()
    ):
        raise UserError(NOT_OURS.format(path))
    refuse_overwritten(path, found)
    return found


@contextmanager
def storage_errors(path: Location) -> Iterator[None]:
    """Turn a disk that cannot be written to into one sentence.

    Raises
    ------
    UserError
        In place of errors of the database, and of the operating system where it will not write.
    """
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlite3.OperationalError, StorageInternalError) as error:
        cause = _cause(error)
        raise UserError(
            f"{path} cannot be used ({cause}): {_advice(path, cause)}, and start again."
        ) from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        place = path.parent if isinstance(path, Path) else path
        raise UserError(
            f"{error.filename or place} cannot be used ({error.strerror or error}): "
            "free the disk, or put the workspace where you may write, and start again."
        ) from error


def _advice(path: Location, cause: str) -> str:
    if "locked" in cause:
        return "end the program that holds it"
    if isinstance(path, Path) and "unable to open" in cause and not path.is_file():
        return "put it back if it was moved away, or make the workspace a folder that you may write to"
    return _ADVICE[type(path)]


def _cause(error: BaseException) -> str:
    """Find what SQLite itself said, without the statement that Optuna and SQLAlchemy print around it."""
    innermost: BaseException = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    original = getattr(innermost, "orig", None)
    return str(original or innermost)
