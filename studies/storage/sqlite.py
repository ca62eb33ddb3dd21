"""Optuna's storage on one SQLite file, tuned for many workers on one machine.

WAL lets workers read while one writes; `synchronous=NORMAL` flushes the disk at checkpoints of the
WAL only, which a crash of a program survives always and a loss of power but for the last commits;
the busy timeout makes a worker wait its turn instead of failing with "database is locked".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb.models import TrialIntermediateValueModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import QueuePool

from objectives.records.sqlite import Mode, connect_to
from studies.storage.shared_database import StudyDatabase
from studies.storage.sqlite_trials import read_study_attributes, read_trial, read_trials

# Optuna reads the trial before each write, in three to five statements; workers that write often wait for
# each other's. One statement does the same: it writes only where the trial has not ended. It goes to the
# driver itself: SQLAlchemy's part would cost more than SQLite's.
_OF_OPEN_TRIAL = "FROM trials WHERE trial_id = :trial AND state IN ('RUNNING', 'WAITING')"
_KNOWN = "SELECT 1 FROM trials WHERE trial_id = :trial"
_REPORT = (
    "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
    f"SELECT trial_id, :step, :value, :kind {_OF_OPEN_TRIAL} "
    "ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value, "
    "intermediate_value_type = excluded.intermediate_value_type"
)
_PARAM = (
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
    f"SELECT trial_id, :name, :value, :distribution {_OF_OPEN_TRIAL}"
)
_ATTRIBUTE = (
    "INSERT INTO trial_{kind}_attributes (trial_id, key, value_json) "
    f"SELECT trial_id, :key, :value {_OF_OPEN_TRIAL} "
    "ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
)


def _connect(path: Path, mode: Mode) -> sqlite3.Connection:
    connection = connect_to(path, mode)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


class SqliteStorage(StudyDatabase):
    """One SQLite file as the storage of studies.

    Parameters
    ----------
    path : Path
        The file.
    create : bool
        Make the file if it is missing. Without, one that is moved away meanwhile is not made again, empty.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        # A function of the module, so that the storage can be sent to another process.
        creator = partial(_connect, path, "rwc" if create else "rw")
        super().__init__("sqlite://", engine_kwargs={"creator": creator, "poolclass": QueuePool})

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Store a report of a trial, or replace the one of the same step.

        Raises
        ------
        KeyError
            If there is no trial of this id.
        UpdateFinishedTrialError
            If the trial has ended.
        """
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(intermediate_value)
        self._write(_REPORT, {"trial": trial_id, "step": step, "value": stored, "kind": kind.name})

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store an attribute of a trial, or replace it; UpdateFinishedTrialError as above."""
        row = {"trial": trial_id, "key": key, "value": json.dumps(value)}
        self._write(_ATTRIBUTE.format(kind="user"), row)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store one of Optuna's own attributes of a trial; UpdateFinishedTrialError as above."""
        row = {"trial": trial_id, "key": key, "value": json.dumps(value)}
        self._write(_ATTRIBUTE.format(kind="system"), row)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if previous_distribution is None:
            # Only the database knows whether another worker has used this name with other ranges.
            super()._set_trial_param(trial_id, param_name, param_value_internal, distribution, None)
            return
        try:
            check_distribution_compatibility(previous_distribution, distribution)
        except ValueError:
            # An unknown or ended trial is reported first, as by Optuna.
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
            raise
        row = {"trial": trial_id, "name": param_name, "value": param_value_internal}
        self._write(_PARAM, row | {"distribution": distribution_to_json(distribution)})

    def _write(self, statement: str, row: Mapping[str, Any]) -> None:
        """Write a row of an open trial.

        Raises
        ------
        KeyError
            If there is no trial of this id.
        UpdateFinishedTrialError
            If the trial has ended.
        """
        with self._driver() as cursor:
            if cursor.execute(statement, row).rowcount == 0:
                if cursor.execute(_KNOWN, row).fetchone() is None:
                    raise KeyError(f"There is no trial {row['trial']}.")
                raise UpdateFinishedTrialError(f"trial {row['trial']} has ended and takes no more values.")

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Read the attributes of a study; KeyError where there is none of this id."""
        with self._driver() as cursor:
            return read_study_attributes(cursor, study_id)

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
