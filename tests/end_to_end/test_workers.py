"""Several workers on one workspace, started and stopped as a person does."""

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from studies.storage.open import load_study
from studies.trials.loop import finished
from tests.support.command_line import TRIALS, done_here, finish, sonarseg_here, start, wait_for


@pytest.fixture
def longer(study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study with a budget twice as large."""
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    toml = tmp_path / "survey-study" / "study.toml"
    text = toml.read_text()
    for section, trials in TRIALS.items():
        text, count = re.subn(rf"(?s)(\n\[{section}\].*?\ntrials = )\d+", rf"\g<1>{2 * trials}", text)
        assert count == 1
    toml.write_text(text)
    return tmp_path


def _study(folder: Path, kind: Any) -> optuna.Study:
    return load_study(folder / "survey-study" / "study.db", kind)


def test_two_workers_finish_a_crf_study(longer: Path) -> None:
    outcome = finish(start("tune", "crf", "--workers", "2", "--json", cwd=longer))
    assert outcome.code == 0, outcome.err
    told = [json.loads(line) for line in outcome.out.splitlines()]
    study = _study(longer, "crf")
    assert len(finished(study)) == 2 * TRIALS["crf"]
    numbers = {trial.number for trial in finished(study)[TRIALS["crf"] :]}
    assert numbers <= {line["trial"] for line in told}
    for line in told:
        assert (
            study.trials[line["trial"]].state.name
            == {"complete": "COMPLETE", "pruned": "PRUNED"}[line["state"]]
        )
    pids = {study.trials[number].user_attrs["worker"]["pid"] for number in numbers}
    assert 1 <= len(pids) <= 2


def test_sigterm_ends_all_workers_and_their_runs_and_the_same_command_resumes(longer: Path) -> None:
    process = start("tune", "loss", "--workers", "2", cwd=longer)
    study = _study(longer, "loss")

    def both_at_work() -> bool:
        assert process.poll() is None, finish(process)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return len(running) == 2 and all(
            (longer / "survey-study" / trial.user_attrs.get("run", "none") / "process.json").is_file()
            for trial in running
        )

    wait_for(both_at_work)
    facts = json.loads(done_here("status", "--json", cwd=longer))["studies"]["loss"]
    assert {worker["device"] for worker in facts["workers"]} == {"cpu"}
    assert len({worker["pid"] for worker in facts["workers"]}) == 2
    process.send_signal(signal.SIGTERM)
    stopped = finish(process)
    assert stopped.code == 130, stopped.err
    assert stopped.err.strip().splitlines()[-1] == "stopped; the same command resumes"
    assert not list((longer / "survey-study" / "runs").glob("*/process.json"))
    interrupted = [trial for trial in study.trials if trial.user_attrs.get("interrupted")]
    assert len([trial for trial in interrupted if trial.number >= TRIALS["loss"]]) == 2
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.FAIL}

    outcome = finish(start("tune", "loss", "--workers", "2", cwd=longer))
    assert outcome.code == 0, outcome.err
    assert "loss trial" in outcome.out
    assert len(finished(study)) == 2 * TRIALS["loss"]
    runs = [trial.user_attrs["run"] for trial in finished(study)]
    assert len(set(runs)) == len(runs)
    assert {trial.user_attrs["run"] for trial in interrupted} <= set(runs)


def test_wrong_options_are_one_sentence(study: Path) -> None:
    for options, part in (
        (("--workers", "0"), "is not a number of workers"),
        (("--engine", "dask"), "needs --scheduler"),
        (("--scheduler", "tcp://127.0.0.1:1"), "needs --engine dask"),
        (("--storage", "sqlite:///x.db"), "is not supported"),
        (("--from", "nowhere"), "is missing"),
    ):
        assert part in sonarseg_here("tune", "crf", *options, cwd=study).err
        assert sonarseg_here("tune", "crf", *options, cwd=study).code == 2
