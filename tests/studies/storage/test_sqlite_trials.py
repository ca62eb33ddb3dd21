"""Trials read by our own statements are those that Optuna's storage reads."""

import math
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from studies.storage.sqlite import SqliteStorage


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    study = optuna.create_study(
        storage=SqliteStorage(tmp_path / "study.db"), directions=["maximize", "minimize"], study_name="x"
    )
    for number in range(6):
        trial = study.ask()
        trial.suggest_float("sigma", 0.1, 100, log=True)
        trial.suggest_int("iterations", 0, 20, step=2)
        trial.suggest_categorical("loss", ["focal", None, "ü", 3])
        for step in range(number):
            trial.set_user_attr(f"note {step}", {"value": [step, "ä'\""], "none": None})
        trial.storage.set_trial_system_attr(trial._trial_id, "key", {"number": number})
        if number < 4:
            study.tell(trial, (float(number), math.inf if number else 0.25))
        elif number == 4:
            study.tell(trial, state=TrialState.FAIL)
    study.enqueue_trial({"sigma": 3.0}, user_attrs={"name": "later"})
    return study


@pytest.fixture
def reports(tmp_path: Path) -> optuna.Study:
    study = optuna.create_study(storage=SqliteStorage(tmp_path / "reports.db"), study_name="x")
    for values in ((0.5, math.inf, -math.inf, math.nan), (), (1e-300, 1e300)):
        trial = study.ask()
        for step, value in reversed(list(enumerate(values))):
            trial.report(value, step)
    study.add_trial(create_trial(value=math.inf, user_attrs={"a": 1}))
    return study


def _plain(path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}")


def _described(trials: list[optuna.trial.FrozenTrial]) -> list[str]:
    # repr tells NaN from NaN as equal; the order of dictionaries is what a person sees.
    return [repr(sorted(vars(trial).items())) for trial in trials]


def test_all_trials_are_the_same(study: optuna.Study, reports: optuna.Study, tmp_path: Path) -> None:
    for name, made in (("study.db", study), ("reports.db", reports)):
        expected = _plain(tmp_path / name).get_all_trials(1)
        assert len(expected) == len(made.trials) >= 4
        assert _described(made.trials) == _described(expected)


def test_some_of_them_are_the_same(study: optuna.Study, tmp_path: Path) -> None:
    ours, peer = SqliteStorage(tmp_path / "study.db"), _plain(tmp_path / "study.db")
    for states in (None, (TrialState.COMPLETE,), (TrialState.RUNNING, TrialState.WAITING)):
        for also, after in ((set(), -1), ({1, 2}, -1), ({1, 2, 99}, 4), (set(), 4), ({3}, 100)):
            assert _described(ours._get_trials(1, states, set(also), after)) == _described(
                peer._get_trials(1, states, set(also), after)
            )


def test_one_trial_is_the_same_and_an_unknown_one_is_a_key_error(study: optuna.Study, tmp_path: Path) -> None:
    ours, peer = SqliteStorage(tmp_path / "study.db"), _plain(tmp_path / "study.db")
    for trial_id in range(1, 8):
        assert _described([ours.get_trial(trial_id)]) == _described([peer.get_trial(trial_id)])
    for storage in (ours, peer):
        with pytest.raises(KeyError):
            storage.get_trial(99)
        with pytest.raises(KeyError):
            storage.get_all_trials(99)


def test_attributes_of_a_study_are_the_same(study: optuna.Study, tmp_path: Path) -> None:
    for key in ("b", "a", "c"):
        study.set_user_attr(key, {"value": [key, "ä'\""], "none": None})
    study.set_user_attr("b", 2)
    ours, peer = SqliteStorage(tmp_path / "study.db"), _plain(tmp_path / "study.db")
    assert ours.get_study_user_attrs(1) == peer.get_study_user_attrs(1)
    assert set(peer.get_study_user_attrs(1)) == {"a", "b", "c"}
    for storage in (ours, peer):
        with pytest.raises(KeyError):
            storage.get_study_user_attrs(99)


def _write_everything(storage: RDBStorage) -> list[optuna.trial.FrozenTrial]:
    study = optuna.create_study(storage=storage, study_name="x")
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("sigma", 0.1, 100 + number, log=True)
        trial.suggest_categorical("loss", ["focal", None, "ü", 3])
        for value in ({"list": [1, "ä'\""]}, number):
            trial.set_user_attr("note", value)
            trial.set_user_attr("other", None)
            trial.storage.set_trial_system_attr(trial._trial_id, "key", {"number": value})
        for step, value in enumerate((0.5, math.nan, math.inf, float(number))):
            trial.report(value, step)
        study.tell(trial, float(number))
    return study.trials


def test_what_our_statements_write_is_what_optunas_own_write(tmp_path: Path) -> None:
    """The same calls on both storages leave the same rows; only the drawn values and times differ."""
    tables = {}
    for name, storage in (
        ("ours", SqliteStorage(tmp_path / "ours.db")),
        ("peer", _plain(tmp_path / "peer.db")),
    ):
        _write_everything(storage)
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            tables[name] = {
                table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()
                for table, columns in {
                    "trial_params": "trial_id, param_name, distribution_json, typeof(param_value)",
                    "trial_user_attributes": "trial_id, key, value_json",
                    "trial_system_attributes": "trial_id, key, value_json",
                    "trial_intermediate_values": "trial_id, step, intermediate_value, "
                    "intermediate_value_type",
                }.items()
            }
    assert tables["ours"] == tables["peer"]
    assert all(tables["ours"].values())


def test_an_ended_trial_takes_nothing_more(tmp_path: Path) -> None:
    study = optuna.create_study(storage=SqliteStorage(tmp_path / "study.db"), study_name="x")
    # The second trial, for the storage looks up what it does not know yet by Optuna's own statements.
    for _ in range(2):
        trial = study.ask()
        trial.suggest_float("sigma", 0.0, 1.0)
        study.tell(trial, 1.0)
    before = _described(study.trials)
    for write in (
        lambda: trial.set_user_attr("late", 1),
        lambda: trial.storage.set_trial_system_attr(trial._trial_id, "late", 1),
        lambda: trial.report(1.0, 1),
        lambda: trial.suggest_float("late", 0.0, 1.0),
        lambda: trial.storage.set_trial_param(trial._trial_id, "sigma", 0.5, trial.distributions["sigma"]),
    ):
        with pytest.raises(UpdateFinishedTrialError):
            write()
    assert _described(study.trials) == before


def test_another_kind_of_range_under_a_known_name_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study(storage=SqliteStorage(tmp_path / "study.db"), study_name="x")
    study.ask().suggest_float("sigma", 0.0, 1.0)
    with pytest.raises(ValueError, match="Cannot set different distribution kind"):
        study.ask().suggest_categorical("sigma", ["a", "b"])
