import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from sonarseg.errors import UserError
from studies.storage import open as storage
from studies.storage import server as server_storage
from studies.storage.open import create_database, load_study, open_storage, storage_errors

ATTRS = {"crf": {"kind": "crf", "seed": 1}, "loss": {"kind": "loss", "seed": 1}}


def test_both_studies_are_there_and_maximise(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    for kind in ("crf", "loss"):
        study = load_study(path, kind)  # type: ignore[arg-type]
        assert study.direction == optuna.study.StudyDirection.MAXIMIZE
        assert study.user_attrs["kind"] == kind
    mode = sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == "wal"
    assert {p.name for p in tmp_path.iterdir()} <= {"study.db", "study.db-wal", "study.db-shm"}


def test_a_folder_whose_name_means_something_in_a_url(tmp_path: Path) -> None:
    folder = tmp_path / "a?b=c %41#é"
    folder.mkdir()
    create_database(folder / "study.db", ATTRS)  # type: ignore[arg-type]
    assert load_study(folder / "study.db", "crf").user_attrs["seed"] == 1


def test_a_copied_file_holds_everything(tmp_path: Path) -> None:
    create_database(tmp_path / "study.db", ATTRS)  # type: ignore[arg-type]
    study = load_study(tmp_path / "study.db", "crf")
    for _ in range(2):
        trial = study.ask()
        trial.set_user_attr("worker", {"pid": 1})
        study.tell(trial, trial.suggest_float("x", 0, 1))
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    shutil.copy(tmp_path / "study.db", tmp_path / "copy.db")
    assert len(load_study(tmp_path / "copy.db", "crf").trials) == 2


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        open_storage(tmp_path / "study.db")
    (tmp_path / "study.db").write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(UserError):
        open_storage(tmp_path / "study.db")


def test_a_file_that_is_moved_away_meanwhile_is_not_made_again_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.db"
    create_database(path, ATTRS)  # type: ignore[arg-type]
    monkeypatch.setattr(storage, "refuse_foreign", lambda path: path.rename(tmp_path / "moved.db"))
    with pytest.raises(UserError, match=r"study\.db is missing"):
        open_storage(path)
    assert not path.exists()


def test_an_unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        create_database(tmp_path / "missing" / "study.db", ATTRS)  # type: ignore[arg-type]
    assert "unable to open database file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_no_half_database(tmp_path: Path) -> None:
    """A child process may write 20 kB a file: SQLite sees what it sees on a full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from sonarseg.errors import UserError; from studies.storage.open import create_database\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try: create_database(Path(sys.argv[1]), {'crf': {}, 'loss': {}})\n"
        "except UserError as error: print(error); sys.exit(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "study.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "free the disk" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tables", [[], ["customers"], ["studies"]])
def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path, tables: list[str]) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (name)")
        connection.commit()
    path.touch()
    before = path.read_bytes()
    with pytest.raises(UserError, match="does not hold the studies of a workspace"):
        load_study(path, "crf")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["study.db"]


def test_studies_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    for name in ("crf", "loss"):
        optuna.create_study(storage=f"sqlite:///{path}", study_name=name)
    with pytest.raises(UserError, match="does not hold the studies of a workspace"):
        load_study(path, "crf")


def test_a_worker_that_waits_for_the_server_is_not_taken_for_dead() -> None:
    assert server_storage.GRACE_SECONDS > server_storage.PATIENCE_SECONDS + server_storage.HEARTBEAT_SECONDS


def test_a_file_that_vanishes_while_it_is_used_is_to_be_put_back(tmp_path: Path) -> None:
    vanished = sqlite3.OperationalError("unable to open database file")
    with pytest.raises(UserError, match="put it back if it was moved"), storage_errors(tmp_path / "a.db"):
        raise vanished
    (tmp_path / "a.db").touch()
    with pytest.raises(UserError, match="free the disk"), storage_errors(tmp_path / "a.db"):
        raise vanished
