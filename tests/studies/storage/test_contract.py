"""Optuna's own tests of what a storage must do, and what ours does beyond them."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import create_trial

from objectives.records.sqlite import connect_to
from studies.storage.server import PatientStorage
from studies.storage.sqlite import SqliteStorage


def _server_class(path: Path) -> RDBStorage:
    """The storage of a server, on a file: what it adds to Optuna's own does not hang on the server."""
    return PatientStorage("sqlite://", engine_kwargs={"creator": partial(connect_to, path, "rwc")})


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with Optuna's tables, which take longer to make than most tests."""
    path = tmp_path_factory.mktemp("empty") / "study.db"
    SqliteStorage(path).engine.dispose()
    return path


@pytest.fixture(params=[SqliteStorage, _server_class])
def storage(request: pytest.FixtureRequest, empty: Path, tmp_path: Path) -> BaseStorage:
    path = tmp_path / "study.db"
    shutil.copy(empty, path)
    made: BaseStorage = request.param(path)
    return made


class TestContract(StorageTestCase):
    """Every test of Optuna's, for each of our storages."""


@pytest.mark.parametrize("make", [SqliteStorage, _server_class])
def test_no_two_trials_have_one_number_after_one_was_removed(tmp_path: Path, make: type) -> None:
    path = tmp_path / "study.db"
    study = optuna.create_study(storage=make(path), study_name="x")
    for _ in range(4):
        study.tell(study.ask(), 1.0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM trials WHERE number = 1")
        connection.commit()
    opened = optuna.load_study(storage=make(path), study_name="x")
    opened.tell(opened.ask(), 1.0)
    opened.add_trial(create_trial(value=2.0))
    assert [trial.number for trial in opened.trials] == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("make", [SqliteStorage, _server_class])
def test_ranges_of_another_programs_trial_bind_nobody(tmp_path: Path, make: type) -> None:
    path = tmp_path / "study.db"
    study = optuna.create_study(storage=make(path), study_name="x")
    theirs = {"params": {"x": "a"}, "distributions": {"x": CategoricalDistribution(("a", "b"))}}
    study.add_trial(create_trial(**theirs, value=1.0))
    for _ in range(2):
        opened = optuna.load_study(storage=make(path), study_name="x")
        trial = opened.ask()
        trial.set_user_attr("worker", {"pid": 1})
        assert 0 <= trial.suggest_float("x", 0, 1) <= 1
        opened.tell(trial, 1.0)
    own = {"params": {"x": 0.5}, "distributions": {"x": FloatDistribution(0, 1)}}
    opened.add_trial(create_trial(**own, value=1.0))
    with pytest.raises(ValueError, match="distribution"):
        opened.add_trial(create_trial(**theirs, value=1.0))
