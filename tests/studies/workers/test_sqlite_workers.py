"""Many workers on one SQLite file: nothing locked, lost or doubled, whoever is killed."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.trial import TrialState

from sonarseg.processes.identity import is_alive
from studies.storage.open import load_study
from studies.trials.loop import finished, run_trials
from studies.workspace import Workspace
from tests.support import toy_study


def _work(root: Path, budget: int, outcomes: "multiprocessing.Queue[str]") -> None:
    try:
        workspace = Workspace(root)
        study = load_study(workspace.database_path, "crf")
        study.sampler = optuna.samplers.RandomSampler()
        run_trials(study, toy_study.objective(0), budget, workspace)
        outcomes.put("done")
    except BaseException as error:
        outcomes.put(repr(error))
        raise


def test_sixteen_workers_share_one_file(place: Workspace) -> None:
    context = multiprocessing.get_context("fork")
    outcomes = context.Queue()
    workers = [context.Process(target=_work, args=(place.root, 160, outcomes)) for _ in range(16)]
    for worker in workers:
        worker.start()
    assert [outcomes.get(timeout=120) for _ in workers] == ["done"] * 16
    for worker in workers:
        worker.join()
    trials = load_study(place.database_path, "crf").trials
    assert [trial.number for trial in trials] == list(range(160))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    for trial in trials:
        assert trial.value == toy_study.toy_value(trial.params)
        assert sorted(trial.intermediate_values) == list(range(toy_study.REPORTS))
    with sqlite3.connect(place.database_path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _wait_for_end(worker: dict[str, object]) -> None:
    """Workers whose launcher was killed end by themselves."""
    deadline = time.monotonic() + 30
    while is_alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _launch(place: Workspace, budget: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, toy_study.__file__, str(place.root), str(budget), "3", "0.3"]
    return subprocess.Popen(command, env=toy_study.toy_environment(), stderr=subprocess.DEVNULL)


def test_killed_workers_and_launchers_lose_nothing(place: Workspace) -> None:
    budget, dice = 40, random.Random(5)
    plan = ["worker"] * 8 + ["launcher"] + ["worker"] * 2
    study = load_study(place.database_path, "crf")
    launcher = _launch(place, budget)
    killed = 0
    while plan:
        time.sleep(dice.uniform(0.05, 0.3))
        if launcher.poll() is not None:
            break
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        workers = [trial.user_attrs["worker"]["pid"] for trial in running if "worker" in trial.user_attrs]
        if not workers:
            continue
        if plan[0] == "launcher":
            plan.pop(0)
            launcher.kill()
            launcher.wait()
            launcher = _launch(place, budget)
        else:
            # A trial may still name a worker that is dead already.
            with suppress(ProcessLookupError):
                os.kill(dice.choice(workers), signal.SIGKILL)
                killed += 1
                plan.pop(0)
    assert launcher.wait(timeout=120) == 0
    assert killed >= 5
    trials = study.trials
    assert len(finished(study)) == budget
    for trial in trials:
        _wait_for_end(trial.user_attrs["worker"])
    assert all(trial.state.is_finished() for trial in trials)
    for trial in trials:
        if "retry_of" in trial.user_attrs:
            before = trials[trial.user_attrs["retry_of"]]
            assert before.state == TrialState.FAIL
            assert before.user_attrs["interrupted"]
            assert trial.system_attrs["retry_history"][-1] == before.number
            fixed = trial.system_attrs["fixed_params"]
            assert before.params.items() <= fixed.items()
            # Killed again, it may have come to none of them.
            assert all(fixed.get(name, value) == value for name, value in trial.params.items())
    again = [trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs]
    assert len(again) == len(set(again))
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert study.best_value == max(toy_study.toy_value(trial.params) for trial in complete)


def test_ctrl_c_while_workers_start_leaves_no_traceback(place: Workspace) -> None:
    """As a terminal sends it: to the launcher and to the workers alike."""
    program = (
        "import sys\n"
        "from tests.support import toy_study\n"
        "from sonarseg.processes.signals import interrupted_once\n"
        "try:\n"
        "    with interrupted_once():\n"
        "        print('starting', flush=True); toy_study.main(*sys.argv[1:])\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    command = [sys.executable, "-c", program, str(place.root), "10000", "2", "0.05"]
    for wait in (0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6):
        process = subprocess.Popen(
            command,
            env=toy_study.toy_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=60)[0]
        assert (process.returncode, output) == (130, ""), wait
