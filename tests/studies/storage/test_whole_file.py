"""study.db alone, without the journal beside it, holds all that a command has written."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from objectives.records.sqlite import open_storage, settle
from sonarseg.processes.identity import process_identity
from studies.storage.open import create_database, load_study
from studies.storage.single_host import SIGN, is_worked_on

ATTRS = {"crf": {"kind": "crf", "metric": "miou"}, "loss": {"kind": "loss", "metric": "miou"}}
# Stands for a command: it leaves by what stands in the place of "leave".
COMMAND = """
import sys
from pathlib import Path
import studies.main as program
from studies.storage.open import load_study
kept = []
def app():
    study = load_study(Path(sys.argv[1]), "crf")
    kept.append(study)
    for _ in range(3):
        trial = study.ask()
        trial.set_user_attr("worker", dict(pid=1))
        study.tell(trial, 0.5)
    LEAVE
program.app = app
program.main()
"""


def _copied(path: Path) -> list[optuna.trial.FrozenTrial]:
    alone = path.parent / "elsewhere" / "study.db"
    alone.parent.mkdir(exist_ok=True)
    shutil.copy(path, alone)
    return load_study(alone, "crf").trials


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(2)", 2),
        ("raise ValueError('broken')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", None),
    ],
)
def test_after_every_end_of_a_command(tmp_path: Path, leave: str, code: int | None) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    script = COMMAND.replace("LEAVE", leave)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert code is None or done.returncode == code, done.stderr
    assert len(_copied(path)) == 3


def test_while_another_program_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    study = load_study(path, "crf")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        trial = study.ask()
        trial.set_user_attr("worker", {"pid": 1})
        study.tell(trial, 0.5)
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM trials").fetchone() == (1,)
        settle(is_worked_on)
        # It reads on, and what was written before it began is in the file.
        assert other.execute("SELECT count(*) FROM trials").fetchone() == (1,)
        assert len(_copied(path)) == 1


def _killed(path: Path) -> None:
    """Leave the journal of a program that was killed after it had added a trial."""
    script = COMMAND.replace("LEAVE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("study.db-wal").stat().st_size > 0


def test_the_next_command_settles_what_a_killed_one_has_written(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    settle(is_worked_on)
    _killed(path)
    assert len(_copied(path)) == 0
    # What the killed program has left says nothing.
    dead = process_identity(os.getpid()) | {"started": "long ago"}
    (tmp_path / f"{SIGN}-1").write_text(json.dumps(dead))
    open_storage(path, "ro").engine.dispose()
    settle(is_worked_on)
    assert len(_copied(path)) == 3


@pytest.mark.parametrize("change", [{}, {"host": "ship"}])
def test_what_others_work_on_is_left_alone_by_those_that_only_read_it(
    tmp_path: Path, change: dict[str, str]
) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    settle(is_worked_on)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE studies SET study_name = study_name")
        other.commit()
        journal = path.with_name("study.db-wal")
        before = journal.stat().st_size
        (tmp_path / f"{SIGN}-1").write_text(json.dumps(process_identity(os.getpid()) | change))
        open_storage(path, "ro").engine.dispose()
        settle(is_worked_on)
        assert journal.stat().st_size == before > 0


def test_a_file_that_was_removed_meanwhile_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    load_study(path, "crf").set_user_attr("x", 1)
    path.unlink()
    settle(is_worked_on)
    assert not path.exists()
    assert not caplog.records
