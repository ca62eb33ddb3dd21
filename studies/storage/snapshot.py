"""A copy of the studies on a server, in the workspace's own file: what reports and commands read."""

from __future__ import annotations

import fcntl
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages._rdb.models import BaseModel, StudyModel, TrialModel
from sqlalchemy import Connection, Table

from objectives.records.study import KINDS, StudyKind
from sonarseg.errors import UserError
from studies.server_address import ServerAddress
from studies.storage.open import open_storage, present_studies, remove_database, storage_errors, study_name
from studies.storage.sqlite import SqliteStorage
from studies.workspace import Workspace

_ROWS = 5000
_log = logging.getLogger(__name__)


def refresh_snapshot(workspace: Workspace) -> None:
    """Copy the studies from their server to study.db; nothing to do where they live in it.

    The file is replaced whole: who reads it meanwhile reads the one before.

    Raises
    ------
    UserError
        Where the server does not answer or the file cannot be written.
    """
    address = workspace.database
    if not isinstance(address, ServerAddress):
        return
    path = workspace.database_path
    # A name of its own: a lock of another machine may not be seen on a network's disk.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with storage_errors(address), storage_errors(path), _one_at_a_time(path):
        try:
            # SQLite's plain journal, not WAL: files beside the copy would outlive it under its readers.
            target = SqliteStorage(partial)
            names = {study_name(address, kind): kind for kind in KINDS}
            with open_storage(address).engine.connect() as source, target.engine.begin() as copy:
                # All tables as they are at one moment, whatever workers write meanwhile.
                _copy(source.execution_options(isolation_level="REPEATABLE READ"), copy, names)
            target.engine.dispose()
            _remove_foreign_journal(path)
            partial.replace(path)
        finally:
            remove_database(partial)


def leave_snapshot(workspace: Workspace) -> None:
    """Refresh the snapshot after work whose outcome does not hang on it; where that fails, say so."""
    try:
        refresh_snapshot(workspace)
    except (UserError, OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        _log.warning(
            "%s is not up to date; the next command copies it anew: %s", workspace.database_path, error
        )


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Keep other snapshots waiting; the workspace's own lock is held for as long as a warm-up takes."""
    with path.with_name(f".{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_foreign_journal(path: Path) -> None:
    """Remove what a database that was written here before has left: it would be played into the copy."""
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def studies_on_server(workspace: Workspace) -> dict[StudyKind, optuna.Study] | None:
    """Open the studies on their server; None where they live in study.db.

    Raises
    ------
    UserError
        Where the server does not answer or does not hold them.
    """
    address = workspace.database
    return present_studies(address) if isinstance(address, ServerAddress) else None


def _copy(source: Connection, target: Connection, names: Mapping[str, str]) -> None:
    """Copy all rows of the named studies, table by table, parents first."""
    studies = sqlalchemy.select(StudyModel.study_id).where(StudyModel.study_name.in_(names))
    trials = sqlalchemy.select(TrialModel.trial_id).where(TrialModel.study_id.in_(studies))
    for table in BaseModel.metadata.sorted_tables:
        chosen = _chosen(table, studies, trials)
        if chosen is None:
            continue
        rows = source.execution_options(yield_per=_ROWS).execute(chosen).mappings()
        for part in rows.partitions(_ROWS):
            values = [dict(row) for row in part]
            if table.name == StudyModel.__tablename__:
                values = [{**row, "study_name": names[row["study_name"]]} for row in values]
            target.execute(table.insert(), values)


def _chosen(
    table: Table, studies: sqlalchemy.Select[tuple[int]], trials: sqlalchemy.Select[tuple[int]]
) -> sqlalchemy.Select[tuple[object, ...]] | None:
    if "study_id" in table.c:
        return sqlalchemy.select(table).where(table.c.study_id.in_(studies))
    if "trial_id" in table.c:
        return sqlalchemy.select(table).where(table.c.trial_id.in_(trials))
    # The schema's version, which the new file has already.
    return None
