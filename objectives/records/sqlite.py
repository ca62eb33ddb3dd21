"""Opens the SQLite file of the studies, and leaves it whole; it is made in `studies.storage`."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import optuna

from sonarseg.errors import UserError

DATABASE = "study.db"
BUSY_SECONDS = 60
NOT_OURS = "{} does not hold the studies of a workspace: expected the study.db that `sonarseg tune` writes."
Mode = Literal["ro", "rw", "rwc"]
# So long the end of a command waits for others before it leaves their part of the journal to them.
_SETTLE_SECONDS = 2.0
# Files that this process has opened for writing, and those that it has only read
_written = set[Path]()
_read = set[Path]()
_log = logging.getLogger(__name__)


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
