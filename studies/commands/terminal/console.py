"""What a command shows while it works: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import TaskID
from typer import confirm

from studies.commands.terminal import phases
from studies.commands.terminal.bars import Bars
from studies.commands.terminal.tables import inert, visible

# Seconds between two plain lines of the same work, so that a log file stays readable
PLAIN_INTERVAL = 20.0

console = Console(soft_wrap=True, highlight=False)


def say(sentence: str) -> None:
    """Print a sentence; markup and terminal escapes in it (paths and names come from elsewhere) are inert."""
    console.print(inert(sentence), soft_wrap=True)


def ask(question: str) -> bool:
    """Ask yes or no on the terminal; the line of `phases` rests, or it would write over the question."""
    phases.rest()
    return confirm(question)


class ConsoleProgress:
    """Shows how far long work is; a `sonarseg.progress.Progress`.

    On a terminal each kind of work has a bar; work that is not counted has the line of `phases` alone.
    Elsewhere (a log file, a batch job) it has a plain line at its end and every `PLAIN_INTERVAL` seconds.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = console.is_terminal and not console.is_dumb_terminal
        self._bars = Bars(console, disable=quiet or not self._terminal)
        self._tasks: dict[str, TaskID] = {}
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Start to show."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bars as they are."""
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take note that `done` of `total` steps of `what` are done."""
        phases.now(what, done, total, note)
        if self._quiet:
            return
        # Names of tiles, classes and settings come from elsewhere.
        what, note = visible(what), visible(note)
        if self._terminal:
            self._bar(what, done, total, note)
        else:
            self._line(what, done, total, note)

    def _bar(self, what: str, done: int, total: int, note: str) -> None:
        if not total:
            return
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, note=note)
        task = self._tasks[what]
        if self._bars.tasks[task].finished and done < total:
            self._bars.reset(task, total=total, note=note)
        self._bars.update(task, completed=done, total=total, note=note)

    def _line(self, what: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if not total and what in self._last_line:
            return
        begins = done == 0 and what not in self._last_line
        if done < total and not begins and now - self._last_line.setdefault(what, now) < PLAIN_INTERVAL:
            return
        self._last_line[what] = now
        counted = f" {done}/{total}" if total else ""
        say(f"{what}{counted}" + (f": {note}" if note else ""))
