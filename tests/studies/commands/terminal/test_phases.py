"""No command is silent: phases, bars that fit the terminal, and whole counters."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.core import TyperGroup

from studies.commands.terminal import phases
from studies.commands.terminal.bars import Bars, phase_line, shortened
from studies.commands.terminal.console import ConsoleProgress
from studies.commands.terminal.tables import FittingTable
from studies.main import app

NOTE = "best miou_multiclass 0.523 (trial 12, a setting of a long name)"
WIDTHS = [20, 40, 60, 80, 200]


def rendered(bars: object, width: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    console.print(bars)
    file.seek(0)
    return file.read().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_counts_times_and_best_values_are_whole_at_every_width(width: int) -> None:
    bars = Bars(Console(width=width), disable=True)
    task = bars.add_task("preparing the tuning tiles of a long name " * 2, total=12345, note=NOTE)
    for done in (11000, 12000):
        bars.update(task, completed=done, note=NOTE)
    lines = rendered(bars.get_renderable(), width)
    assert max(map(len, lines)) <= width
    text = "".join(lines)
    assert "12000/12345" in text
    assert re.search(r"\d:\d\d:\d\d left", text)
    assert "0.523" in re.sub(r"\s+", "", text)
    assert "…" not in text.replace("…", "", 1), "the name alone is shortened"


def test_latest_bars_fit_the_screen_while_work_goes_on() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with Bars(console, disable=False) as bars:
        for number in range(30):
            bars.add_task(f"work {number}", total=3)
        shown = list(bars.get_renderables())
    assert len(shown) < 24
    assert len(list(bars.get_renderables())) == 30


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_phase_is_shown_with_its_count_and_time(width: int, encoding: str) -> None:
    line = phase_line(Console(width=width), redirect=False)
    line.add_task("hashing the survey " * 5, total=None, counted="3/12")
    lines = rendered(line.get_renderable(), width, encoding)
    assert max(map(len, lines)) <= width
    assert lines[-1].endswith("3/12")
    assert "0:00:00" in lines[0]
    assert len(lines) == (2 if width == 20 else 1)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_figure_of_a_table_is_cut_on_a_narrow_terminal(width: int) -> None:
    cells = ["987", "1:24:21", "103", "+0.012 to +0.345", "0.1234"]
    heads = ["worker", "setting", "on", "loss trial", "since", "step", "interval", "miou_multiclass"]
    rows = [["a-long-host-name, process 1234567", "lovasz_softmax", "cuda:1", *cells]] * 3
    lines = rendered(FittingTable(heads, rows, words=3), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in cells:
        assert text.count(cell) == 3, cell
    assert "\u2026" not in text


def test_only_names_are_shortened() -> None:
    assert shortened("name", 4) == "name"
    assert shortened("long name", 6) == "long…"


def commands(group: typer.core.TyperGroup, path: str = "") -> Iterator[tuple[str, object]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_shows_what_it_does_from_its_first_moment() -> None:
    found = dict(commands(typer.main.get_command(app)))  # type: ignore[arg-type]
    assert len(found) > 15
    assert [name for name, command in found.items() if not isinstance(command, phases.SpokenCommand)] == []


def test_listeners_are_told_of_phases_until_the_command_ends() -> None:
    told: list[str] = []

    class Listener:
        def __enter__(self) -> object:
            return lambda what, done, total, note="": told.append(f"{what} {done}/{total}")

        def __exit__(self, *_: object) -> None:
            told.append("ended")

    with phases.phases_shown(quiet=True):
        phases.tell(Listener())  # type: ignore[arg-type]
        with ConsoleProgress(quiet=True) as progress:
            progress("warm-up", 1, 3)
        phases.now("report")
    phases.now("nobody listens")
    assert told == ["loading 0/0", "warm-up 1/3", "report 0/0", "ended"]


def on_a_terminal(code: str, term: str, typed: bytes = b"") -> str:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": term}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment):
        os.close(follower)
        os.write(leader, typed)
        found = b""
        try:
            while part := os.read(leader, 4096):
                found += part
        except OSError:
            # The other end is closed.
            os.close(leader)
    return found.decode()


CODE = """
from studies.commands.terminal import phases
phases._TICK = 0.05
with phases.phases_shown():
    phases.now("counting sheep")
    import time; time.sleep(0.4)
    print("a result")
"""


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_is_told_what_happens_while_nothing_else_is_printed(term: str, tmp_path: Path) -> None:
    text = on_a_terminal(CODE, term)
    assert text.count("counting sheep") > 1
    assert "a result" in text
    assert ("\x1b[" in text) is (term == "xterm")


REST = """
import sys, time
from studies.commands.terminal import phases
with phases.phases_shown():
    phases.now("opening")
    phases.rest()
    print("<address>", end="", flush=True)
    time.sleep(0.6)
    print("</address>", flush=True)
    phases.now("counting again")
    time.sleep(0.4)
"""


def test_nothing_is_written_while_a_command_rests() -> None:
    text = on_a_terminal(REST, "xterm")
    assert "<address></address>" in text
    assert "counting again" in text


QUESTION = """
import time
from studies.commands.terminal import console, phases

def confirm(question):
    print(question, end="", flush=True)
    time.sleep(0.6)
    return input() == "y"

console.confirm = confirm
with phases.phases_shown():
    phases.now("checking tiles", 30, 30)
    print("<answer>" + str(console.ask("Take them?")) + "</answer>")
"""


def test_a_question_is_not_written_over() -> None:
    text = on_a_terminal(QUESTION, "xterm", typed=b"y\n")
    assert "<answer>True</answer>" in text
    assert "checking tiles" not in text.partition("Take them?")[2]
