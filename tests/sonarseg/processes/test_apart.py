"""A call in a process of its own: its steps, what it returns or raises, and how either process ends."""

import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.processes.apart import apart
from sonarseg.progress import Progress

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _tests_can_be_imported_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def squares(numbers: list[int], *, progress: Progress) -> tuple[int, list[int]]:
    for done, number in enumerate(numbers):
        progress("squares", done, len(numbers), f"{number}²")
    return os.getpid(), [number**2 for number in numbers]


def wrong(kind: type[BaseException], *, progress: Progress) -> None:
    raise kind("the second tile is damaged.")


def killed(*, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waits(folder: Path, *, progress: Progress) -> None:
    try:
        progress("waiting", 0, 1)
        threading.Event().wait(60)
    finally:
        (folder / "cleared up").touch()


def test_steps_and_result_come_back() -> None:
    told: list[tuple[str, int, int, str]] = []

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        told.append((what, done, total, note))

    process, result = apart(partial(squares, [3, 4]), progress)
    assert result == [9, 16]
    assert process != os.getpid()
    assert told == [("squares", 0, 2, "3²"), ("squares", 1, 2, "4²")]


@pytest.mark.parametrize("kind", [UserError, ValueError, KeyboardInterrupt])
def test_what_is_raised_there_is_raised_here(kind: type[BaseException]) -> None:
    with pytest.raises(kind, match=r"the second tile is damaged\.") as caught:
        apart(partial(wrong, kind))
    assert bool(getattr(caught.value, "__notes__", None)) == (kind is ValueError)


def test_a_process_that_the_system_kills_is_one_sentence() -> None:
    with pytest.raises(UserError, match="was killed, as the system does when memory runs out"):
        apart(killed)


def test_an_interruption_here_ends_the_process_there(tmp_path: Path) -> None:
    def progress(what: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apart(partial(waits, tmp_path), progress)
    assert (tmp_path / "cleared up").is_file()
