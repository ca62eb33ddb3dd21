"""A workspace that an earlier version wrote and left half finished opens, goes on, and keeps its trials.

`tests/fixtures/half_finished_workspace.tar.xz` was recorded at commit 4dce6d2: six of sixteen crf trials, two
loss runs, and a third whose program was killed. Checkpoints are too large to keep; the warm-up is trained
again from its recorded settings, as a person would who had lost it.
"""

import tarfile
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.support.command_line import done

RECORDED = Path(__file__).parents[1] / "fixtures" / "half_finished_workspace.tar.xz"
KINDS = ("crf", "loss")


def trials(workspace: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the trials of both studies were and what they were worth."""
    storage = f"sqlite:///{workspace / 'study.db'}"
    return {
        kind: [
            (trial.number, trial.state.name, trial.values, trial.params, trial.user_attrs.get("confusions"))
            for trial in optuna.load_study(study_name=kind, storage=storage).trials
        ]
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_it_opens_goes_on_and_reports_the_same_trials(recorded: Path) -> None:
    workspace = recorded / "survey-study"
    before = trials(workspace)
    complete = {kind: [trial for trial in before[kind] if trial[1] == "COMPLETE"] for kind in KINDS}
    assert {kind: len(found) for kind, found in complete.items()} == {"crf": 10, "loss": 2}
    status = done("status", "survey-study", cwd=recorded)
    assert "6 of 16" in status
    assert "2 of 9" in status
    done("report", "survey-study", cwd=recorded)
    page = (workspace / "report.html").read_text(encoding="utf-8")
    assert "crf: 6 trials, 6 scored in full" in page
    assert trials(workspace) == before
    settings = workspace / "study.toml"
    settings.write_text(
        settings.read_text().replace("trials = 16", "trials = 8").replace("trials = 9 ", "trials = 3 ")
    )
    done("run", workspace / "runs" / "warm-up", cwd=recorded)
    done("tune", "all", "survey-study", cwd=recorded)
    after = trials(workspace)
    for kind in KINDS:
        assert [trial for trial in after[kind] if trial in complete[kind]] == complete[kind]
    searched = [trial for trial in after["loss"] if trial[1] == "COMPLETE"]
    assert len(searched) == 3
    assert "8 of 8" in done("status", "survey-study", cwd=recorded)
