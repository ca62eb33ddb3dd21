"""Workers as tasks of a Dask cluster on this machine, with the studies in PostgreSQL."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sonarseg.errors import UserError
from studies.server_address import ServerAddress, write_address
from studies.stages.run_settings import RunSettings
from studies.storage.open import create_database, load_study
from studies.trials.loop import TrialCallbacks, finished
from studies.workers.dask import DaskWorkers
from studies.workers.observer import Observer
from studies.workers.worker import WorkerTask
from studies.workspace import Workspace
from tests.support import toy_cluster, toy_study
from tests.support.sudden_death import kill_a_worker
from tests.support.toy_study import ATTRS, toy_workspace

distributed = pytest.importorskip("distributed", reason="the package distributed is not installed")


@pytest.fixture
def cluster() -> Iterator[str]:
    """A scheduler and two workers, each a process with one thread; gives the scheduler's address."""
    environment = {**toy_study.toy_environment(), "DASK_DISTRIBUTED__WORKER__DAEMON": "false"}
    program = Path(toy_cluster.__file__)
    process = subprocess.Popen(
        [sys.executable, str(program)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.wait(timeout=120)


@pytest.mark.timeout(180)
def test_a_dask_cluster_completes_a_study_through_a_killed_worker_and_a_restarted_database(  # type: ignore[no-untyped-def]
    postgres, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 30
    workspace = toy_workspace(tmp_path)
    write_address(workspace.address_path, ServerAddress(postgres.url, "dask"))
    create_database(workspace.database, {"crf": ATTRS})
    study = load_study(workspace.database, "crf")
    task = WorkerTask(str(tmp_path), "crf", RunSettings(command=(str(budget), "0.3")))
    survived: list[int] = []

    def disturb() -> None:
        kill_a_worker(study, 6)
        postgres.stop()
        time.sleep(1.5)
        postgres.start()
        survived.append(len(finished(study)))

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    DaskWorkers(cluster, toy_study.toy_work).run(task, None, Observer(study, budget, TrialCallbacks()))
    disturbing.join()
    assert 6 <= survived[0] < budget
    assert len(finished(study)) == budget
    assert all(trial.state.is_finished() for trial in study.trials)
    assert [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert study.best_value == max(toy_study.toy_value(trial.params) for trial in finished(study))


@pytest.mark.timeout(60)
def test_workers_that_dask_gave_up_are_one_sentence(
    place: Workspace, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.workers.dask._SETTLE_SECONDS", 1.0)
    with distributed.Client(cluster) as client:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    with pytest.raises(UserError, match=r"Dask gave up workers of the crf study"):
        DaskWorkers(cluster, toy_study.deadly_work).run(WorkerTask(str(place.root), "crf"), 2, lambda: 0)


@pytest.mark.timeout(60)
def test_a_second_ctrl_c_waits_for_no_worker(
    place: Workspace, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT))

    def observe() -> int:
        if not again.is_alive() and not again.finished.is_set():
            again.start()
            os.kill(os.getpid(), signal.SIGINT)
        return 0

    with pytest.raises(KeyboardInterrupt):
        DaskWorkers(cluster, toy_study.stubborn_work).run(WorkerTask(str(place.root), "crf"), 1, observe)
    assert again.finished.is_set()
    assert len(load_study(place.database_path, "crf").user_attrs["stop_requests"]) == 1


def test_no_scheduler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.workers.dask._CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        DaskWorkers("tcp://127.0.0.1:9").run(WorkerTask(str(tmp_path), "crf"), 1, lambda: 0)
