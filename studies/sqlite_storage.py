"""Optuna's storage on one SQLite file, tuned for many workers on one machine.

WAL lets workers read while one writes; `synchronous=NORMAL` flushes the disk at checkpoints of the
WAL only, which a crash of a program survives always and a loss of power but for the last commits;
the busy timeout makes a worker wait its turn instead of failing with "database is locked".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import QueuePool

from reports.database import connect_to
from studies.sqlite_trials import read_trial, read_trials

# Optuna reads trial and value before it writes, five statements a report; workers that report often
# wait for each other's. One statement does the same: it writes only where the trial has not ended.
# It goes to the driver itself: SQLAlchemy's part would cost more than SQLite's.
_REPORT = (
    "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
    "SELECT trial_id, :step, :value, :kind FROM trials "
    "WHERE trial_id = :trial AND state IN ('RUNNING', 'WAITING') "
    "ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value, "
    "intermediate_value_type = excluded.intermediate_value_type"
)


class SqliteStorage(RDBStorage):
    """One SQLite file as the storage of studies.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        def connect() -> sqlite3.Connection:
            connection = connect_to(path, "rwc")
            connection.execute("PRAGMA synchronous=NORMAL")
            return connection

        super().__init__("sqlite://", engine_kwargs={"creator": connect, "poolclass": QueuePool})

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Store a report of a trial, or replace the one of the same step.

        Raises
        ------
        UpdateFinishedTrialError
            Where the trial has ended, or there is none of this id.
        """
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(intermediate_value)
        row = {"trial": trial_id, "step": step, "value": stored, "kind": kind.name}
        with self._driver() as cursor:
            if cursor.execute(_REPORT, row).rowcount == 0:
                raise UpdateFinishedTrialError(f"trial {trial_id} has ended and takes no more reports.")

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Read one trial; KeyError where there is none of this id."""
        with self._driver() as cursor:
            return read_trial(cursor, trial_id)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        with self._driver() as cursor:
            return read_trials(cursor, study_id, trial_id_greater_than, included_trial_ids, states)

    @contextmanager
    def _driver(self) -> Iterator[sqlite3.Cursor]:
        """Lend the driver's own cursor for one transaction."""
        with closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            yield cursor  # type: ignore[misc]
            connection.commit()
