import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from objectives.outcome import TrialFailed
from objectives.run_monitor import RUN_COMMAND, StopRun, Timing, follow_run
from sonarseg.errors import UserError
from sonarseg.processes.identity import is_alive, process_identity
from tests.support import fake_run_program

PROGRAM = Path(fake_run_program.__file__)
QUICK = Timing(poll=0.02, grace=0.5)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    config = {
        "stage": "self-training",
        "seed": 0,
        "loss": {"name": "cross-entropy", "gamma": 0, "alpha": 0},
        "training": {"rounds": 2, "epochs_per_round": 2, "warmup_epochs": 1},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def _command(behaviour: str) -> list[str]:
    return [sys.executable, str(PROGRAM), behaviour]


def _follow(run_dir: Path, behaviour: str, lines: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    seen: list[dict[str, Any]] = [] if lines is None else lines
    return follow_run(run_dir, seen.append, command=_command(behaviour), timing=QUICK)


def _last_pid(run_dir: Path) -> int:
    return int((run_dir / "starts.txt").read_text().split()[-1])


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not is_alive(process_identity(pid)):
            return True
        time.sleep(0.02)
    return False


def test_every_epoch_is_reported_once_and_the_summary_comes_back(run_dir: Path) -> None:
    lines: list[dict[str, Any]] = []
    summary = _follow(run_dir, "good", lines)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert summary["metrics"]["miou"] == pytest.approx(0.5)
    assert not (run_dir / "process.json").exists()


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("fail", "out of memory on cuda"),
        ("crash", "exit code 1: ValueError: the tile is upside down"),
        ("killed", "killed by signal 9 (SIGKILL)"),
        ("silent", "without writing summary.json"),
    ],
)
def test_a_bad_ending_has_a_reason(run_dir: Path, behaviour: str, expected: str) -> None:
    with pytest.raises(TrialFailed) as caught:
        _follow(run_dir, behaviour)
    assert expected in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_the_reason_of_an_earlier_start_is_forgotten(run_dir: Path) -> None:
    (run_dir / "failure.json").write_text(json.dumps({"reason": "old"}))
    with pytest.raises(TrialFailed, match="signal 9"):
        _follow(run_dir, "killed")


def test_a_refused_input_is_for_the_person(run_dir: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.txt is missing"):
        _follow(run_dir, "refuse")


def test_a_missing_program_is_no_hang(run_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        follow_run(run_dir, lambda line: None, command=["/no/such/program"], timing=QUICK)


@pytest.mark.parametrize("behaviour", ["slow", "deaf"])
def test_a_stopped_run_is_gone_even_if_it_does_not_listen(run_dir: Path, behaviour: str) -> None:
    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 2:
            raise StopRun(ArithmeticError("enough"))

    with pytest.raises(ArithmeticError, match="enough"):
        follow_run(run_dir, stop, command=_command(behaviour), timing=QUICK)
    assert _gone(_last_pid(run_dir))


def test_children_of_a_stopped_run_end_with_it(run_dir: Path) -> None:
    def stop(line: dict[str, Any]) -> None:
        raise StopRun(ArithmeticError("enough"))

    with pytest.raises(ArithmeticError):
        follow_run(run_dir, stop, command=_command("child"), timing=QUICK)
    assert _gone(int((run_dir / "child.txt").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_and_the_next_start_goes_on(run_dir: Path, number: int) -> None:
    def interrupt(line: dict[str, Any]) -> None:
        if line["epoch"] == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        follow_run(run_dir, interrupt, command=_command("slow"), timing=QUICK)
    assert _gone(_last_pid(run_dir))
    assert signal.getsignal(signal.SIGTERM) is before
    lines: list[dict[str, Any]] = []
    _follow(run_dir, "good", lines)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_run_that_has_ended_well_is_not_stopped_any_more(run_dir: Path) -> None:
    _follow(run_dir, "good")

    def stop(line: dict[str, Any]) -> None:
        raise StopRun(ArithmeticError("too late"))

    assert follow_run(run_dir, stop, command=_command("good"), timing=QUICK)["finished"]


def test_a_process_that_outlived_its_follower_is_ended_first(run_dir: Path) -> None:
    orphan = subprocess.Popen([*_command("deaf"), str(run_dir)], start_new_session=True)
    deadline = time.monotonic() + 5
    while not (run_dir / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    (run_dir / "process.json").write_text(json.dumps(process_identity(orphan.pid)))
    _follow(run_dir, "good")
    assert orphan.wait(timeout=5) == -signal.SIGKILL


def test_a_reused_process_id_is_left_alone(run_dir: Path) -> None:
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    try:
        identity = process_identity(bystander.pid) | {"started": "1"}
        (run_dir / "process.json").write_text(json.dumps(identity))
        _follow(run_dir, "good")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_following_works_outside_the_main_thread(run_dir: Path) -> None:
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(_follow(run_dir, "good")))
    thread.start()
    thread.join(timeout=10)
    assert found[0]["finished"]


def test_identity_of_a_process() -> None:
    me = process_identity(os.getpid())
    assert is_alive(me)
    assert not is_alive(me | {"host": "another"})
    assert not is_alive(me | {"machine": "a clone of the same name"})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    identity = process_identity(ended.pid)
    ended.wait()
    assert not is_alive(identity)


def test_a_run_imports_nothing_of_the_current_folder(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named as the package, as a clone's is, and a module named as a library's."""
    (run_dir / "sonarseg").mkdir()
    (run_dir / "sonarseg" / "__init__.py").write_text("raise SystemExit('a decoy')\n")
    (run_dir / "torch.py").write_text("raise SystemExit('a decoy')\n")
    monkeypatch.chdir(run_dir)
    shown = subprocess.run([*RUN_COMMAND], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (2, "usage: python -m sonarseg RUN_DIR\n")
