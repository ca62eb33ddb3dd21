"""A copy of the studies on a server, in the workspace's own file: what reports and commands read."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing

import optuna
import sqlalchemy
from optuna.storages._rdb.models import BaseModel, StudyModel, TrialModel
from sqlalchemy import Connection, Table

from studies.server_address import ServerAddress
from studies.sqlite_storage import SqliteStorage
from studies.storage import (
    KINDS,
    StudyKind,
    load_studies,
    open_storage,
    remove_database,
    storage_errors,
    study_name,
)
from studies.workspace import Workspace

_ROWS = 5000


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
    partial = path.with_name(path.name + ".partial")
    with storage_errors(address), storage_errors(path):
        remove_database(partial)
        try:
            target = SqliteStorage(partial)
            names = {study_name(address, kind): kind for kind in KINDS}
            with open_storage(address).engine.connect() as source, target.engine.begin() as copy:
                _copy(source, copy, names)
            target.engine.dispose()
            with closing(sqlite3.connect(partial)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            # The file itself stays until the new one takes its place: somebody may be reading it.
            for suffix in ("-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            partial.replace(path)
        finally:
            remove_database(partial)


def studies_on_server(workspace: Workspace) -> dict[StudyKind, optuna.Study] | None:
    """Open the studies on their server; None where they live in study.db.

    Raises
    ------
    UserError
        Where the server does not answer or does not hold them.
    """
    address = workspace.database
    return load_studies(address) if isinstance(address, ServerAddress) else None


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
