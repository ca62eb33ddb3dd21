"""Trials read by our own statements are those that Optuna's storage reads."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from studies.sqlite_storage import SqliteStorage


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
