"""Workers of several workspaces on one PostgreSQL server, whose restart costs nothing."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from typer.testing import CliRunner

from objectives.records.read import read_studies
from sonarseg.errors import UserError
from sonarseg.processes.identity import process_identity
from studies.commands.dashboard import _open_url
from studies.main import app
from studies.server_address import (
    ADDRESS_VARIABLE,
    ServerAddress,
    asked_address,
    read_address,
    write_address,
)
from studies.stages.open_studies import open_studies
from studies.stages.superseded import is_superseded, restart, successor
from studies.storage.choice import settle_storage
from studies.storage.open import create_database, load_study, study_name
from studies.storage.server import await_server, open_server, wait_for_server
from studies.storage.snapshot import refresh_snapshot
from studies.trials import retry
from studies.trials.loop import finished, run_trials
from studies.workspace import Workspace
from tests.support import toy_study
from tests.support.sudden_death import kill_a_worker
from tests.support.toy_study import ATTRS, toy_workspace
from tests.support.workspaces import make_workspace, rewrite


def _on_server(folder: Path, url: str, name: str) -> Workspace:
    workspace = toy_workspace(folder)
    write_address(workspace.address_path, ServerAddress(url, name))
    return workspace


def _launch(workspace: Workspace, budget: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, toy_study.__file__, str(workspace.root), str(budget), "2", "0.3"]
    return subprocess.Popen(command, env=toy_study.toy_environment())


@pytest.mark.timeout(180)
def test_two_hosts_a_killed_worker_and_a_restart(postgres, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Two workspaces, as on two machines, share a budget of 40 trials."""
    budget = 40
    here, there = (_on_server(tmp_path / name, postgres.url, "two-hosts") for name in ("here", "there"))
    create_database(here.database, {"crf": ATTRS})
    create_database(there.database, {"crf": {"kind": "crf", "metric": "miou", "late": True}})
    study = load_study(here.database, "crf")
    assert "late" not in study.user_attrs
    launchers = [_launch(here, budget), _launch(there, budget)]
    kill_a_worker(study, after=5)
    postgres.stop()
    time.sleep(1.5)
    postgres.start()
    assert [launcher.wait(timeout=120) for launcher in launchers] == [0, 0]
    trials = study.trials
    assert len(finished(study)) == budget
    assert {trial.state for trial in finished(study)} == {TrialState.COMPLETE}
    assert not [trial for trial in trials if not trial.state.is_finished()]
    for trial in finished(study):
        assert trial.value == toy_study.toy_value(trial.params)
        assert sorted(trial.intermediate_values) == list(range(toy_study.REPORTS))
    assert [trial for trial in trials if trial.state == TrialState.FAIL]
    workers = {trial.user_attrs["worker"]["pid"] for trial in finished(study)}
    assert len(workers) >= 4


def test_a_worker_of_another_machine_is_dead_when_it_beats_no_more(  # type: ignore[no-untyped-def]
    postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = _on_server(tmp_path, postgres.url, "beats")
    create_database(workspace.database, {"crf": ATTRS})
    study = load_study(workspace.database, "crf")
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("worker", {"host": "elsewhere", "pid": 1, "started": "0", "thread": 1})
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    retry.requeue_dead_trials(study)
    assert study.trials[0].state == TrialState.RUNNING
    monkeypatch.setattr(study._storage._backend, "grace_period", -1)  # type: ignore[attr-defined]
    retry.requeue_dead_trials(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].user_attrs["retry_of"] == 0


def test_a_worker_that_lives_counts_by_its_beats_too(  # type: ignore[no-untyped-def]
    postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of this machine has its host name; a process may outlive its trial."""
    workspace = _on_server(tmp_path, postgres.url, "alike")
    create_database(workspace.database, {"crf": ATTRS})
    study = load_study(workspace.database, "crf")
    here = process_identity(os.getpid())
    gone = {**here, "pid": 2**22 + 1}
    for worker in (here, {**gone, "machine": "a clone"}, gone):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr("worker", worker)
        study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    retry.requeue_dead_trials(study)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    monkeypatch.setattr(study._storage._backend, "grace_period", -1)  # type: ignore[attr-defined]
    retry.requeue_dead_trials(study)
    assert [trial.state for trial in study.trials[:3]] == [TrialState.FAIL] * 3


def test_a_snapshot_holds_what_the_server_holds(postgres, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    workspace = _on_server(tmp_path, postgres.url, "north bay/é")
    create_database(workspace.database, {"crf": {**ATTRS}, "loss": {"kind": "loss", "metric": "miou"}})
    study = load_study(workspace.database, "crf")
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    run_trials(study, toy_study.objective(0), 5, workspace)
    assert study.study_name == study_name(workspace.database, "crf") == "north bay/é/crf"
    for _ in range(2):
        refresh_snapshot(workspace)
    copy = load_study(workspace.database_path, "crf")
    assert [
        (t.params, t.value, t.user_attrs, t.intermediate_values, t.datetime_complete) for t in copy.trials
    ] == [(t.params, t.value, t.user_attrs, t.intermediate_values, t.datetime_complete) for t in study.trials]
    assert copy.user_attrs == study.user_attrs
    assert sorted(path.name for path in tmp_path.glob("study.db*")) == ["study.db"]


def test_snapshots_at_once_disturb_neither_each_other_nor_readers(  # type: ignore[no-untyped-def]
    postgres, tmp_path: Path
) -> None:
    workspace = _on_server(tmp_path, postgres.url, "at-once")
    create_database(workspace.database, {"crf": ATTRS, "loss": {"kind": "loss", "metric": "miou"}})
    run_trials(load_study(workspace.database, "crf"), toy_study.objective(0), 3, workspace)

    def look(_: int) -> int:
        refresh_snapshot(workspace)
        return len(read_studies(workspace.root)["crf"].trials)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(16))) == [3] * 16
    assert [path.name for path in tmp_path.glob("study.db*")] == ["study.db"]


def test_no_password_is_written_or_shown(  # type: ignore[no-untyped-def]
    postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = toy_workspace(tmp_path)
    secret = postgres.url.replace("sonar@", "sonar:deep%20water@")
    shown = CliRunner().invoke(app, ["tune", "crf", str(tmp_path), "--storage", secret])
    assert shown.exit_code == 2
    assert "holds a password" in shown.output
    assert "deep" not in shown.output
    in_query = f"{postgres.url}?password=deep%20water&connect_timeout=9"
    shown = CliRunner().invoke(app, ["tune", "crf", str(tmp_path), "--storage", in_query])
    assert shown.exit_code == 2
    assert "holds a password" in shown.output
    assert not workspace.address_path.exists()
    monkeypatch.delenv("PGPASSWORD")
    for variable in (in_query, secret):
        workspace.address_path.unlink(missing_ok=True)
        monkeypatch.setenv(ADDRESS_VARIABLE, variable)
        settle_storage(workspace, None)
        assert "deep" not in workspace.address_path.read_text()
    create_database(workspace.database, {"crf": ATTRS})
    assert load_study(workspace.database, "crf").user_attrs == ATTRS


def test_a_worker_waits_for_a_server_that_let_its_launcher_in(  # type: ignore[no-untyped-def]
    postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = ServerAddress(postgres.url, "late")
    main, sleep = threading.current_thread(), time.sleep

    def pause(seconds: float) -> None:
        """The server comes back while the worker pauses; what else has threads here goes on sleeping."""
        if threading.current_thread() is main:
            postgres.start()
        else:
            sleep(seconds)

    postgres.stop()
    monkeypatch.setattr("time.sleep", pause)
    await_server(address)
    assert "the database does not answer" in caplog.text
    open_server(address).engine.dispose()
    monkeypatch.setenv("PGPASSWORD", "shallow water")
    with pytest.raises(UserError, match="check address, user and password"):
        await_server(address)
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(UserError, match="check address, user and password"):
        await_server(address)


def test_wrong_addresses_are_one_sentence(  # type: ignore[no-untyped-def]
    postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="mysql is not supported"):
        asked_address("mysql://sonar@127.0.0.1/db", "n")
    with pytest.raises(UserError, match="cannot be read"):
        asked_address("nonsense", "n")
    wrong = ServerAddress(postgres.url.replace(str(postgres.port), "9"), "n")
    with pytest.raises(UserError, match="check address, user and password") as caught:
        create_database(wrong, {"crf": ATTRS})
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", "shallow water")
    with pytest.raises(UserError, match="password authentication failed") as caught:
        create_database(ServerAddress(postgres.url, "n"), {"crf": ATTRS})
    assert "shallow" not in str(caught.value)


def test_an_address_in_a_file_holds_no_password(tmp_path: Path) -> None:
    path = tmp_path / "storage.toml"
    for url in ("postgresql://sonar:secret@127.0.0.1/db", "postgresql://sonar@127.0.0.1/db?password=secret"):
        path.write_text(f'url = "{url}"\nname = "n"\n')
        with pytest.raises(UserError, match=r"storage\.toml holds a password") as caught:
            read_address(path)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["postgresql://sonar:topsecret/studies", "postgresql://sonar:topsecret@127.0.0.1:54x/studies"]
)
def test_an_address_that_cannot_be_read_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    workspace = toy_workspace(tmp_path)
    create_database(workspace.database_path, {"crf": ATTRS})
    monkeypatch.setenv(ADDRESS_VARIABLE, address)
    by_variable = CliRunner().invoke(app, ["tune", "crf", str(tmp_path)])
    by_option = CliRunner().invoke(app, ["dashboard", "--storage", address])
    for shown in (by_variable, by_option):
        assert shown.exit_code == 2
        assert "postgresql://USER@HOST" in " ".join(shown.output.split())
        assert "topsecret" not in shown.output
        assert not isinstance(shown.exception, ValueError)


@pytest.mark.parametrize("address", ["postgresql://sonar:deep@h/db", "mysql://sonar:deep@h/db"])
def test_the_dashboard_takes_no_password_on_the_command_line(address: str) -> None:
    shown = CliRunner().invoke(app, ["dashboard", "--storage", address])
    assert shown.exit_code == 2
    assert "holds a password" in shown.output
    assert "deep" not in shown.output


def test_the_dashboard_takes_the_password_from_the_environment(  # type: ignore[no-untyped-def]
    postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_database(ServerAddress(postgres.url, "seen"), {"crf": ATTRS})
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv(ADDRESS_VARIABLE, postgres.url.replace("sonar@", "sonar:deep%20water@"))
    assert "seen/crf" in optuna.get_all_study_names(_open_url(postgres.url))


def test_studies_do_not_move(postgres, place: Workspace, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="have begun in"):
        settle_storage(place, postgres.url)
    settle_storage(place, None)
    other = toy_workspace(tmp_path / "other")
    with pytest.raises(UserError, match="check address, user and password"):
        settle_storage(other, f"{postgres.url}-that-is-not-there")
    assert not other.address_path.exists()
    settle_storage(other, f"{postgres.url}?application_name=mistyped")
    settle_storage(other, postgres.url)
    create_database(other.database, {"crf": ATTRS, "loss": ATTRS | {"kind": "loss"}})
    settle_storage(other, postgres.url)
    with pytest.raises(UserError, match="leave --storage out"):
        settle_storage(other, f"{postgres.url}?application_name=elsewhere")


def test_a_name_that_other_studies_bear_is_refused(postgres, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    first, second = (make_workspace(tmp_path / name, monkeypatch) for name in ("first", "second"))
    settle_storage(first, postgres.url)
    open_studies(first)
    rewrite(second, "seed = 4", "seed = 5")
    with pytest.raises(UserError, match="give this workspace another `name`") as caught:
        settle_storage(Workspace(second.root), postgres.url)
    assert "seed in study.toml changed from 4 to 5" in str(caught.value)
    assert not second.address_path.exists()
    rewrite(second, 'name = "tiny"', 'name = "second"')
    again = Workspace(second.root)
    settle_storage(again, postgres.url)
    _, studies = open_studies(again)
    assert studies["crf"].user_attrs["seed"] == 5


def test_a_report_is_read_from_the_snapshot(postgres, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    workspace = _on_server(tmp_path, postgres.url, "report")
    create_database(workspace.database, {"crf": ATTRS, "loss": {**ATTRS, "kind": "loss"}})
    refresh_snapshot(workspace)
    assert set(read_studies(workspace.root)) == {"crf", "loss"}


@pytest.mark.parametrize(
    "lost",
    [
        sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection")),
        sqlalchemy.exc.PendingRollbackError("Can't reconnect until invalid transaction is rolled back."),
    ],
    ids=["hung up", "asked again in the same session"],
)
def test_a_lost_server_is_waited_for(lost: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    internal = StorageInternalError("An exception is raised during the commit.")
    internal.__cause__ = lost
    answers: list[Exception | str] = [lost, internal, "there"]

    def attempt() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_for_server(attempt) == "there"
    with pytest.raises(StorageInternalError):
        wait_for_server(lambda: (_ for _ in ()).throw(StorageInternalError("a value is too long")))


def test_a_study_on_a_server_begins_anew_under_its_name(postgres, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    here, there = (_on_server(tmp_path / name, postgres.url, "anew") for name in ("here", "there"))
    create_database(here.database, {"crf": ATTRS})
    study, elsewhere = (load_study(workspace.database, "crf") for workspace in (here, there))
    study.enqueue_trial({"x": 0.25}, user_attrs={"name": "mine"})
    restart(study, "superseded", {"batch_size": 4}, first=0)
    assert is_superseded(study)
    assert is_superseded(elsewhere)
    new = successor(elsewhere)
    assert new.study_name == study.study_name
    assert new.user_attrs == study.user_attrs | {"batch_size": 4}
    assert [trial.system_attrs["fixed_params"] for trial in new.trials] == [{"x": 0.25}]
    assert [trial.user_attrs for trial in new.trials] == [{"name": "mine"}]
    assert load_study(there.database, "crf").user_attrs["batch_size"] == 4
