"""A tiny simulated survey, and a study of it."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.command_line import done, finish, shrink, start, wait_for


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty simulated tiles of 48 x 48 pixels; copy before changing."""
    folder = tmp_path_factory.mktemp("simulated") / "survey"
    done("simulate", folder, "--tiles", 30, "--size", 48, "--seed", 1, cwd=folder.parent)
    return folder


@pytest.fixture(scope="session")
def study(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `survey` and a finished workspace `survey-study`, interrupted once on the way.

    All processes of this test run share the work, and each has a copy.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = shared / "finished-study"
    with (shared / "finished-study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            partial = tmp_path_factory.mktemp("making")
            _make_study(survey, partial)
            partial.rename(made)
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def _make_study(survey: Path, folder: Path) -> None:
    shutil.copytree(survey, folder / "survey")
    done("init", "survey", "--background", "none", cwd=folder)
    workspace = folder / "survey-study"
    shrink(workspace / "study.toml")
    process = start("tune", "all", cwd=folder)
    wait_for(
        lambda: (workspace / "runs" / "loss-0001" / "metrics.jsonl").is_file() or process.poll() is not None
    )
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    assert interrupted.code == 130, interrupted.err
    assert interrupted.err.strip().splitlines()[-1] == "stopped; the same command resumes"
    done("tune", "all", cwd=folder)
