"""`status` in another terminal tells what a command at work does, not what an ended one did."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonarseg.processes.identity import process_identity
from studies import phase_file
from studies.commands.status import gather, shown
from studies.phase_file import noted, phases_at_work
from studies.workspace import Workspace


def notes(root: Path) -> list[Path]:
    return sorted(root.glob(f"{phase_file.NOTE}*"))


def test_another_process_reads_the_phase_until_the_command_ends(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from studies.phase_file import phases_at_work; "
        "from studies.workspace import Workspace; "
        "print(json.dumps(phases_at_work(Workspace(Path(sys.argv[1])))))"
    )
    with noted(Workspace(tmp_path), "tune") as note:
        note("warm-up", 3, 10, "classification loss 0.5")
        told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    (phase,) = json.loads(told.stdout)
    assert (phase["command"], phase["what"], phase["done"], phase["total"]) == ("tune", "warm-up", 3, 10)
    assert phase["note"] == "classification loss 0.5"
    assert phase["process"]["pid"] == os.getpid()
    assert phases_at_work(Workspace(tmp_path)) == []
    assert notes(tmp_path) == []


def test_a_phase_lasts_from_its_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("studies.phase_file.time.time", lambda: clock)
    with noted(Workspace(tmp_path), "tune") as note:
        note("warm-up", 0, 10)
        clock += 60
        note("warm-up", 1, 10)
        clock += 60
        (phase,) = phases_at_work(Workspace(tmp_path))
        assert (phase["done"], phase["seconds"]) == (1, 120.0)
        note("report", 0, 0)
        (phase,) = phases_at_work(Workspace(tmp_path))
        assert (phase["what"], phase["seconds"]) == ("report", 0.0)


def left_behind(root: Path, **changes: object) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = process_identity(process.pid)
    entry = {"command": "tune", "what": "warm-up", "done": 1, "total": 2, "note": "", "since": 0, "time": 0}
    text = json.dumps({**entry, "process": {**identity, **changes}})
    (root / f"{phase_file.NOTE}-there-1.json").write_text(text, encoding="utf-8")


def test_the_note_of_a_killed_command_is_not_believed_and_goes_with_the_next(tmp_path: Path) -> None:
    left_behind(tmp_path)
    assert phases_at_work(Workspace(tmp_path)) == []
    with noted(Workspace(tmp_path), "report") as note:
        note("report", 0, 0)
        assert [phase["command"] for phase in phases_at_work(Workspace(tmp_path))] == ["report"]
    assert notes(tmp_path) == []


def test_the_note_of_another_machine_is_believed_while_it_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path, host="elsewhere", machine="another")
    for now, believed in ((5.0, 1), (phase_file.STALE_SECONDS + 1, 0)):
        monkeypatch.setattr("studies.phase_file.time.time", lambda now=now: now)
        assert len(phases_at_work(Workspace(tmp_path))) == believed


@pytest.mark.parametrize("text", ["", "[]", "{}", "not JSON"])
def test_a_damaged_note_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{phase_file.NOTE}-a-1.json").write_text(text, encoding="utf-8")
    assert phases_at_work(Workspace(tmp_path)) == []


def test_a_folder_that_cannot_be_written_to_gets_no_note(tmp_path: Path) -> None:
    with noted(Workspace(tmp_path / "missing"), "tune") as note:
        note("warm-up", 1, 2)
    assert not (tmp_path / "missing").exists()


def test_status_tells_the_phase(tuned: Workspace) -> None:
    import io

    from rich.console import Console

    def told() -> str:
        console = Console(file=io.StringIO(), width=200)
        console.print(shown(gather(tuned)))
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    assert "now: no command is at work" in told()
    with noted(tuned, "tune") as note:
        note("crf study", 12, 200, "best miou 0.5")
        assert "now: crf study 12 of 200, best miou 0.5, for 0:00:0" in told()
        assert f"(`sonarseg tune`, process {os.getpid()} on " in told()
    assert notes(tuned.root) == []
