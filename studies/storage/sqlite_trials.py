"""Reads trials out of Optuna's tables in one SQLite file, in six statements however many there are.

Every ask of every worker reads the trials under way, of which sixteen workers have sixteen; building
them through SQLAlchemy's objects took most of a worker's time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime
from functools import lru_cache
from sqlite3 import Cursor
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel
from optuna.trial import FrozenTrial, TrialState

Rows = dict[int, list[tuple[Any, ...]]]


def read_trials(
    cursor: Cursor,
    study_id: int,
    after: int = -1,
    also: Iterable[int] = (),
    states: Container[TrialState] | None = None,
) -> list[FrozenTrial]:
    """Read the trials of a study as they are at one moment, by number.

    Parameters
    ----------
    cursor : Cursor
        Of the database, inside a transaction.
    study_id : int
    after : int
        Only trials of a larger `trial_id`, ...
    also : iterable of int
        ... and these.
    states : container of TrialState, optional
        Only trials in one of these.

    Raises
    ------
    KeyError
        Where there is no such study.
    """
    _check_study(cursor, study_id)
    rows = cursor.execute(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials "
        "WHERE study_id = ? AND (trial_id > ? OR trial_id IN (SELECT value FROM json_each(?))) "
        "ORDER BY trial_id",
        (study_id, after, json.dumps(list(also))),
    ).fetchall()
    return _whole(cursor, [row for row in rows if states is None or TrialState[row[2]] in states])


def read_trial(cursor: Cursor, trial_id: int) -> FrozenTrial:
    """Read one trial.

    Raises
    ------
    KeyError
        Where there is none of this id.
    """
    rows = cursor.execute(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE trial_id = ?",
        (trial_id,),
    ).fetchall()
    if not rows:
        raise KeyError(f"There is no trial {trial_id}.")
    return _whole(cursor, rows)[0]


def read_study_attributes(cursor: Cursor, study_id: int) -> dict[str, Any]:
    """Read the user attributes of a study.

    Raises
    ------
    KeyError
        Where there is no such study.
    """
    _check_study(cursor, study_id)
    statement = "SELECT key, value_json FROM study_user_attributes WHERE study_id = ? ORDER BY rowid"
    return {key: json.loads(text) for key, text in cursor.execute(statement, (study_id,))}


def _check_study(cursor: Cursor, study_id: int) -> None:
    if cursor.execute("SELECT 1 FROM studies WHERE study_id = ?", (study_id,)).fetchone() is None:
        raise KeyError(f"There is no study {study_id}.")


def _whole(cursor: Cursor, trials: list[tuple[Any, ...]]) -> list[FrozenTrial]:
    ids = json.dumps([row[0] for row in trials])
    params = _of_trials(cursor, "trial_params", "param_name, param_value, distribution_json", ids, "param_id")
    values = _of_trials(cursor, "trial_values", "value, value_type", ids, "objective")
    user = _of_trials(cursor, "trial_user_attributes", "key, value_json", ids)
    system = _of_trials(cursor, "trial_system_attributes", "key, value_json", ids)
    reports = _of_trials(
        cursor, "trial_intermediate_values", "step, intermediate_value, intermediate_value_type", ids, "step"
    )
    found = []
    for trial_id, number, state, started, completed in trials:
        distributions = {name: _distribution(text) for name, _, text in params[trial_id]}
        found.append(
            FrozenTrial(
                number=number,
                state=TrialState[state],
                value=None,
                values=[_value(*row) for row in values[trial_id]] or None,
                datetime_start=_time(started),
                datetime_complete=_time(completed),
                params={
                    name: distributions[name].to_external_repr(value) for name, value, _ in params[trial_id]
                },
                distributions=distributions,
                user_attrs={key: json.loads(text) for key, text in user[trial_id]},
                system_attrs={key: json.loads(text) for key, text in system[trial_id]},
                intermediate_values={step: _report(value, kind) for step, value, kind in reports[trial_id]},
                trial_id=trial_id,
            )
        )
    return found


def _of_trials(cursor: Cursor, table: str, columns: str, ids: str, order: str = "rowid") -> Rows:
    """Rows of a table by trial; `ids` is a JSON list."""
    by_trial: Rows = defaultdict(list)
    for trial_id, *row in cursor.execute(
        f"SELECT trial_id, {columns} FROM {table} "
        f"WHERE trial_id IN (SELECT value FROM json_each(?)) ORDER BY {order}",
        (ids,),
    ):
        by_trial[trial_id].append(tuple(row))
    return by_trial


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _value(value: float, kind: str) -> float:
    return TrialValueModel.stored_repr_to_value(value, TrialValueModel.TrialValueType[kind])


def _report(value: float, kind: str) -> float:
    kinds = TrialIntermediateValueModel.TrialIntermediateValueType
    return TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kinds[kind])


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
