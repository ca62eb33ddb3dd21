import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from objectives.outcome import TrialFailed
from objectives.records.attributes import STOPPED
from objectives.records.read import read_studies
from objectives.records.trial import is_interrupted
from reports.dashboard.trial_notes import trial_note
from sonarseg.errors import UserError
from sonarseg.processes.identity import process_identity
from studies.commands.terminal.trial_lines import trial_facts
from studies.storage.open import create_database, load_study
from studies.trials import loop, retry
from studies.trials.heartbeat import worker_identity
from studies.trials.loop import TrialCallbacks, finished, run_trials
from studies.trials.retry import DIED, requeue_dead_trials
from studies.trials.stopping import StopRules
from studies.workspace import Workspace

Objective = Callable[[optuna.Trial], float]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    create_database(workspace.database_path, {"crf": {"kind": "crf", "metric": "miou"}})
    return workspace


def _plain(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def _raises(error: BaseException) -> Objective:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        raise error

    return objective


def test_the_budget_is_the_whole_studys(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    for budget in (3, 3, 5):
        run_trials(study, _plain, budget, place)
        assert len(study.trials) == budget


def test_failed_and_pruned_trials_count_and_say_why(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    run_trials(study, _raises(TrialFailed("the loss became nan in epoch 3.")), 1, place)
    run_trials(study, _raises(optuna.TrialPruned("below the median.")), 2, place)
    assert [(t.state, t.user_attrs["reason"]) for t in study.trials] == [
        (TrialState.FAIL, "the loss became nan in epoch 3."),
        (TrialState.PRUNED, "below the median."),
    ]
    assert len(finished(study)) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), "Ctrl-C or a signal ended its worker; the next start goes on with it."),
        (UserError("labels.csv is gone."), "labels.csv is gone."),
        (ZeroDivisionError("by zero"), "stopped by ZeroDivisionError: by zero"),
    ],
)
def test_an_interrupted_trial_is_run_again_with_what_it_had(
    place: Workspace, error: BaseException, reason: str
) -> None:
    study = load_study(place.database_path, "crf")
    attrs = {"name": "IRN", "enqueued": True, "seed": 3, "run": "runs/loss-0000"}
    study.enqueue_trial({"x": 0.25}, user_attrs=attrs)
    with pytest.raises(type(error)):
        run_trials(study, _raises(error), 2, place)
    assert study.trials[0].user_attrs["reason"] == reason
    assert finished(study) == []
    run_trials(study, _plain, 2, place)
    again = study.trials[1]
    assert again.params == {"x": 0.25}
    assert {name: again.user_attrs[name] for name in attrs} == attrs
    assert again.user_attrs["retry_of"] == 0
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    run_trials(study, _plain, 2, place)
    assert len(study.trials) == 3


def test_a_trial_interrupted_twice_is_run_until_it_ends(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    study.enqueue_trial({"x": 0.5})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_trials(study, _raises(KeyboardInterrupt()), 1, place)
    run_trials(study, _plain, 1, place)
    assert [t.params for t in study.trials] == [{"x": 0.5}] * 3
    assert [t.user_attrs.get("retry_of") for t in study.trials] == [None, 0, 1]


def test_a_trial_whose_program_was_killed_is_run_again(place: Workspace) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from studies.storage.open import load_study; from studies.trials.loop import run_trials\n"
        "from studies.workspace import Workspace\n"
        "place = Workspace(Path(sys.argv[1]))\n"
        "def objective(trial):\n"
        "    x = trial.suggest_float('x', 0, 1)\n"
        "    if trial.number == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return x\n"
        "run_trials(load_study(place.database_path, 'crf'), objective, 3, place)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(place.root)], check=False).returncode == -9
    study = load_study(place.database_path, "crf")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    run_trials(study, _plain, 3, place)
    killed, again = study.trials[1], study.trials[2]
    assert (killed.state, killed.user_attrs["reason"]) == (TrialState.FAIL, DIED)
    assert (again.params, again.user_attrs["retry_of"]) == (killed.params, 1)
    assert len(study.trials) == 4


def test_a_trial_of_a_living_program_is_left_alone_and_waited_for(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOOK_SECONDS", 0.01)
    study = load_study(place.database_path, "crf")
    seen: list[list[TrialState]] = []

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:

        def progress(what: str, done: int, total: int, note: str = "") -> None:
            if note.endswith("waiting for the last runs of other workers"):
                seen.append([trial.state for trial in study.trials])
                if len(seen) == 3:
                    other.kill()
                    other.wait()

        study.ask().set_user_attr("worker", process_identity(other.pid))
        run_trials(study, _plain, 2, place, callbacks=TrialCallbacks(progress))
    assert seen[:3] == [[TrialState.RUNNING, TrialState.COMPLETE]] * 3
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[2].user_attrs["retry_of"] == 0


def test_a_stop_rule_ends_the_wait_and_a_study_that_goes_on_is_not_stopped(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        study.ask().set_user_attr("worker", process_identity(other.pid))
        run_trials(study, _plain, 1, place, stop=StopRules(hours=0))
        assert study.user_attrs[STOPPED] == "the 0 hours are over"
        other.kill()
    run_trials(study, _plain, 1, place)
    assert len(finished(study)) == 1
    assert study.user_attrs[STOPPED] is None


def test_a_crf_study_out_of_patience_waits_for_what_others_still_find(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOOK_SECONDS", 0.01)
    study = load_study(place.database_path, "crf")
    looks = 0

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:

        def progress(what: str, done: int, total: int, note: str = "") -> None:
            nonlocal looks
            if note.startswith("stopped: "):
                looks += 1
                if looks == 3:
                    study.tell(0, 7.0)

        study.ask().set_user_attr("worker", process_identity(other.pid))
        run_trials(
            study, lambda trial: 0.5, 9, place, stop=StopRules(patience=2), callbacks=TrialCallbacks(progress)
        )
        other.kill()
    # With a better value there is reason to go on.
    assert study.best_trial.number == 0
    assert [trial.value for trial in study.trials] == [7.0] + [0.5] * (len(study.trials) - 1)
    assert looks >= 3
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]


@pytest.mark.parametrize("wants_to_write", [False, True])
def test_a_trial_that_another_worker_took_over_is_dropped(
    place: Workspace, caplog: pytest.LogCaptureFixture, wants_to_write: bool
) -> None:
    study, elsewhere = (load_study(place.database_path, "crf") for _ in range(2))

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            running = elsewhere.trials[0]
            elsewhere._storage.set_trial_user_attr(running._trial_id, "interrupted", True)
            elsewhere.tell(0, state=TrialState.FAIL)
            if wants_to_write:
                trial.report(0.5, 1)
        return trial.suggest_float("x", 0, 1) if trial.number else 0.5

    run_trials(study, objective, 1, place)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert [record.getMessage() for record in caplog.records if record.name == "studies.trials.loop"] == [
        "trial 0 of the crf study was taken over by another worker; this one goes on with the next."
    ]


def test_an_enqueued_trial_that_died_before_it_chose_keeps_its_parameters(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    study.enqueue_trial({"x": 0.75}, user_attrs={"name": "PSA"})
    study.ask()
    requeue_dead_trials(study)
    run_trials(study, _plain, 1, place)
    assert study.trials[1].params == {"x": 0.75}
    assert study.trials[1].user_attrs["name"] == "PSA"


def test_this_programs_own_leftover_is_dead(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    study.ask().set_user_attr("worker", worker_identity())
    requeue_dead_trials(study)
    assert study.trials[0].user_attrs["reason"] == DIED


def test_a_trial_that_ends_while_it_is_taken_for_dead_keeps_its_value(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(place.database_path, "crf")
    study.ask().set_user_attr("worker", worker_identity())
    late = study.ask()
    late.set_user_attr("worker", worker_identity())
    found = retry.dead_trials

    def dead(study: optuna.Study, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        trials = found(study, running)
        study.tell(late.number, 0.5)
        return trials[::-1]

    monkeypatch.setattr(retry, "dead_trials", dead)
    requeue_dead_trials(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.WAITING]
    assert study.trials[1].value == 0.5


def test_a_database_that_cannot_be_written_is_one_sentence(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")

    def objective(trial: optuna.Trial) -> float:
        with sqlite3.connect(place.database_path) as connection:
            connection.execute("DROP TABLE trial_user_attributes")
        trial.set_user_attr("metrics", {})
        return 1.0

    with pytest.raises(UserError, match="no such table"):
        run_trials(study, objective, 1, place)


def test_the_best_is_told(place: Workspace) -> None:
    notes: list[tuple[str, int, int, str]] = []
    study = load_study(place.database_path, "crf")
    study.enqueue_trial({"x": 0.5}, user_attrs={"name": "IRN"})
    run_trials(study, _plain, 1, place, callbacks=TrialCallbacks(lambda *args: notes.append(args)))
    assert notes == [("crf study", 0, 1, ""), ("crf study", 1, 1, "best miou 0.500 (trial 0, IRN)")]


def test_what_depends_on_the_others_is_chosen_in_the_workers_turn(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    chosen: list[int] = []

    def choose(study: optuna.Study, trial: optuna.Trial) -> None:
        with (place.root / ".lock").open("a") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        chosen.append(trial.number)

    run_trials(study, _plain, 2, place, callbacks=TrialCallbacks(asked=(choose,)))
    assert chosen == [0, 1]


def test_any_number_of_listeners_hear_of_a_trial_in_order(place: Workspace) -> None:
    heard: list[tuple[str, str, int]] = []

    def listener(name: str) -> Callable[[optuna.Study, Any], None]:
        return lambda study, trial: heard.append((name, study.study_name, trial.number))

    callbacks = TrialCallbacks(asked=(listener("asked"),), ended=(listener("first"),))
    more = callbacks.also(asked=(listener("asked too"),), ended=(listener("last"),))
    run_trials(load_study(place.database_path, "crf"), _plain, 1, place, callbacks=more)
    assert heard == [(name, "crf", 0) for name in ("asked", "asked too", "first", "last")]


def test_a_listener_of_an_ended_trial_sees_its_value(place: Workspace) -> None:
    values: list[float | None] = []
    callbacks = TrialCallbacks(ended=(lambda study, trial: values.append(trial.value),))
    study = load_study(place.database_path, "crf")
    run_trials(study, _plain, 2, place, callbacks=callbacks)
    assert values == [trial.value for trial in study.trials]


def test_a_study_ends_if_nothing_is_left_to_enqueue(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")
    run_trials(study, _plain, 5, place, enqueue=lambda study, left: left > 3)
    assert len(finished(study)) == 2
    assert study.user_attrs[STOPPED] == "every point of the grid was tried"


def test_a_trial_interrupted_while_it_is_chosen_is_interrupted(place: Workspace) -> None:
    study = load_study(place.database_path, "crf")

    def interrupted(study: optuna.Study, trial: optuna.Trial) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials(study, _plain, 1, place, callbacks=TrialCallbacks(asked=(interrupted,)))
    (trial,) = study.trials
    assert is_interrupted(trial)
    assert trial_facts(study, trial)["state"] == "interrupted"
    read = read_studies(place.root)["crf"]
    note = trial_note(read, read.trials[0])
    assert note is not None and "**Interrupted:** Ctrl\\-C or a signal ended its worker" in note
