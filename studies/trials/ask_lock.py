"""One worker at a time asks for a trial, so that a budget is spent exactly once.

On one machine a lock on the workspace's file `.lock` orders the workers; on a server an advisory lock, which
PostgreSQL gives back by itself when the connection of its holder breaks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from sonarseg.progress import Progress, silent
from studies.storage.server import wait_for_server
from studies.workspace import Workspace


@contextmanager
def ask_lock(study: optuna.Study, workspace: Workspace, progress: Progress = silent) -> Iterator[None]:
    """Wait for the lock under which one worker asks for a trial of `study`, and hold it for the block.

    Raises
    ------
    UserError
        Where the workspace cannot be written to.
    """
    backend = getattr(study._storage, "_backend", study._storage)
    if not isinstance(backend, RDBStorage) or backend.engine.dialect.name != "postgresql":
        with workspace.lock(progress):
            yield
        return
    key = zlib.crc32(study.study_name.encode())
    connection = wait_for_server(lambda: _locked(backend.engine, key))
    try:
        yield
    finally:
        # Closing the connection gives the lock back, also where the server has forgotten both.
        connection.invalidate()
        connection.close()


def _locked(engine: sqlalchemy.Engine, key: int) -> sqlalchemy.Connection:
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except BaseException:
        connection.close()
        raise
    return connection
