"""A finished study on a disk that cannot be written to, an archive say, is still read in full."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import TRIALS, done, finish, sonarseg, start

PORT = 18099


@pytest.fixture
def archive(study: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with `survey` and a read-only `survey-study`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a folder read-only needs root")
    shutil.copytree(study, tmp_path, dirs_exist_ok=True)
    workspace = tmp_path / "survey-study"
    bound = subprocess.run(["mount", "--bind", workspace, workspace], capture_output=True, text=True)
    if bound.returncode != 0:
        pytest.skip(f"mounting a folder read-only is not permitted here ({bound.stderr.strip()})")
    try:
        remount = ["mount", "-o", "remount,ro,bind", workspace]
        remounted = subprocess.run(remount, capture_output=True, text=True)
        if remounted.returncode != 0 or os.access(workspace, os.W_OK):
            pytest.skip(f"mounting a folder read-only has no effect here ({remounted.stderr.strip()})")
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", workspace], check=True)


def test_status_export_and_report_of_an_archived_study(archive: Path) -> None:
    assert "best" in done("status", cwd=archive)
    done("export", "-o", "elsewhere", cwd=archive)
    exported = {path.name for path in (archive / "elsewhere").iterdir()}
    assert {"crf_trials.csv", "loss_trials.csv"} <= exported, exported
    told = done("report", "-o", "report.html", cwd=archive)
    assert "read-only" in told
    assert "Plotly.newPlot" in (archive / "report.html").read_text()


@pytest.mark.parametrize("command", [["report"], ["export"], ["tune", "all"]])
def test_what_must_write_says_where_it_cannot(archive: Path, command: list[str]) -> None:
    sentence = sonarseg(*command, cwd=archive).sentence()
    assert "Read-only file system" in sentence
    assert "survey-study" in sentence


def test_the_dashboard_serves_an_archived_study(archive: Path) -> None:
    process = start("dashboard", "--port", PORT, cwd=archive)
    try:
        trials = _first_answer(f"http://127.0.0.1:{PORT}/api/studies/1?after=0")["trials"]
    finally:
        # Filling in begins beside serving: what it has to say comes a moment later.
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert len(trials) >= TRIALS["crf"]
    assert ended.code == 0, ended
    assert "survey-study is read-only" in ended.out + ended.err
    assert "Traceback" not in ended.err


def _first_answer(url: str) -> dict[str, Any]:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within 30 s")
