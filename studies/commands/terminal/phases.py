"""What a command does at this moment: a line on the terminal, and whoever else listens."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from sonarseg.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from studies.workspace import Workspace

LOADING = "loading"
# Seconds between two lines on a terminal that cannot move its cursor: nobody should take it for dead.
_TICK = 2.5


class SpokenCommand(TyperCommand):
    """A command that shows from its first moment what it does."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `--quiet` and `--json` keep the terminal for the result."""
        quiet = bool(ctx.params.get("quiet") or ctx.params.get("as_json"))
        with phases_shown(quiet=quiet):
            return super().invoke(ctx)


class _Running:
    """One command at work: who hears of its phases, and what ends with it."""

    def __init__(self, line: _Line | _Ticker | None) -> None:
        self.line = line
        self.listeners: list[Progress] = [] if line is None else [line]
        self.ends = ExitStack()
        self.noted = False
        self.latest: tuple[str, int, int, str] = (LOADING, 0, 0, "")


_running: list[_Running] = []


@contextmanager
def phases_shown(*, quiet: bool = False) -> Iterator[None]:
    """Show phases as long as the block lasts; nothing on pipes, whose lines `ConsoleProgress` writes.

    Parameters
    ----------
    quiet : bool
        Show nothing; listeners hear of it all the same.
    """
    line = None if quiet else _line()
    running = _Running(line)
    with ExitStack() as ends:
        if line is not None:
            ends.enter_context(line)
        _running.append(running)
        ends.callback(_running.remove, running)
        ends.enter_context(running.ends)
        now(LOADING)
        yield


def now(what: str, done: int = 0, total: int = 0, note: str = "") -> None:
    """Tell what the command does from now on; a `sonarseg.progress.Progress`."""
    if _running:
        _running[-1].latest = (what, done, total, note)
        for listener in tuple(_running[-1].listeners):
            listener(what, done, total, note)


def rest() -> None:
    """Take the line away until the next phase: what is shown stays as it is."""
    if _running and _running[-1].line is not None:
        _running[-1].line.rest()


def tell(listener: AbstractContextManager[Progress]) -> None:
    """Tell a listener of the phases too, from the present one on, until the command ends."""
    if _running:
        running = _running[-1]
        told = running.ends.enter_context(listener)
        told(*running.latest)
        running.listeners.append(told)


def note_in(workspace: Workspace, command: str) -> None:
    """Note the phases in a workspace until the command ends, for `sonarseg status`.

    A command that is a part of another one adds no note.
    """
    if _running and not _running[-1].noted:
        from studies.phase_file import noted

        _running[-1].noted = True
        tell(noted(workspace, command))


def _line() -> _Line | _Ticker | None:
    """Choose what the terminal can show; importing rich takes a moment that a pipe need not wait for."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return None
    from rich.console import Console

    from studies.commands.terminal.console import console

    shown = console if console.is_terminal else Console(stderr=True, highlight=False)
    if not shown.is_terminal:
        return None
    return _Ticker(shown) if shown.is_dumb_terminal else _Line(shown, own=shown is console)


class _Line:
    """A spinner, the phase and its time so far, between what is printed and the bars."""

    def __init__(self, console: Console, *, own: bool) -> None:
        from studies.commands.terminal.bars import phase_line

        self._bars: Bars = phase_line(console, redirect=own)
        self._task: TaskID = self._bars.add_task("", total=None, visible=False)
        self._what = ""

    def __enter__(self) -> _Line:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        from studies.commands.terminal.tables import visible

        what = visible(what)
        if not self._bars.live.is_started:
            self._bars.start()
        if what != self._what:
            self._what = what
            self._bars.reset(self._task, visible=True)
        counted = f"{done}/{total}" if total else ""
        self._bars.update(self._task, description=what, counted=counted, visible=True)

    def rest(self) -> None:
        self._what = ""
        self._bars.stop()


class _Ticker:
    """Plain lines every few seconds, for a terminal that cannot move its cursor."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase, self._since = "", time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="phases", daemon=True)

    def __enter__(self) -> _Ticker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        from studies.commands.terminal.tables import visible

        phase = visible(what) + (f" {done}/{total}" if total else "")
        if phase != self._phase:
            self._phase, self._since = phase, time.monotonic()

    def rest(self) -> None:
        self._phase = ""

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            if phase := self._phase:
                seconds = time.monotonic() - self._since
                self._console.print(f"{phase}, {seconds:.0f} s", markup=False, soft_wrap=True)
