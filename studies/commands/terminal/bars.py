"""Bars of long work that fit the terminal: counts, times and figures stay whole, names are shortened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import Progress, Task
from rich.text import Text

# Bars that are shown at once while work goes on; the screen must hold them all.
_MOST_BARS = 8
_BAR, _LEAST_BAR = 24, 6
_LEAST_NAME = 8
_FRAMES, _FRAMES_PER_SECOND = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", 8
# Seconds of which the speed is taken: epochs may last minutes.
_SPEED_SECONDS = 3600.0


class Bars(Progress):
    """A bar for each kind of work: name, bar, count, time that is left, and the latest figures."""

    def __init__(self, console: Console, *, disable: bool) -> None:
        super().__init__(console=console, disable=disable, speed_estimate_period=_SPEED_SECONDS)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Lay the latest bars out, all of them once the work has ended."""
        tasks = self.tasks if self.finished or not self.live.is_started else self.tasks[-_MOST_BARS:]
        for task in tasks:
            yield _Bar(task)


class _Bar:
    """One bar; figures that do not fit into its line follow below it."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        task, width = self._task, options.max_width
        done, total = int(task.completed), int(task.total or 0)
        figures = f"{done}/{total}"
        left = task.time_remaining
        if left is not None and done < total:
            figures += f" {timedelta(seconds=round(left))} left"
        mark = _mark(options)
        name = shortened(task.description, max(_LEAST_NAME, width - cell_len(figures) - 1), mark)
        bar_width = min(_BAR, width - cell_len(f"{name}  {figures}"))
        text = Text(f"{name} ")
        if bar_width >= _LEAST_BAR:
            filled = 0 if not total else bar_width * min(done, total) // total
            full, rest = ("=", "-") if options.ascii_only else ("━", "━")
            text.append(full * filled, "bar.complete").append(rest * (bar_width - filled), "bar.back")
            text.append(" ")
        text.append(figures)
        note = str(task.fields.get("note", ""))
        fits = cell_len(text.plain) + 1 + cell_len(note) <= width
        yield text.append(f" {note}", "dim") if note and fits else text
        if note and not fits:
            yield Text(note, style="dim", overflow="fold")


def phase_line(console: Console, *, redirect: bool) -> Progress:
    """Make the line that tells what a command does and for how long; it goes when the command ends."""
    return _PhaseLine(
        console=console, transient=True, redirect_stdout=redirect, redirect_stderr=True, refresh_per_second=4
    )


class _PhaseLine(Progress):
    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            if task.visible:
                yield _Phase(task, self.get_time())


class _Phase:
    """Spinner, time so far, phase, count."""

    def __init__(self, task: Task, time: float) -> None:
        self._task, self._time = task, time

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        frames = "|/-\\" if options.ascii_only else _FRAMES
        frame = frames[int(self._time * _FRAMES_PER_SECOND) % len(frames)]
        head = f"{frame} {timedelta(seconds=int(self._task.elapsed or 0))} "
        counted = str(self._task.fields.get("counted", ""))
        room = options.max_width - cell_len(head) - (cell_len(counted) + 1 if counted else 0)
        name = shortened(self._task.description, max(_LEAST_NAME, room), _mark(options))
        yield Text(f"{head}{name} {counted}".rstrip())


def _mark(options: ConsoleOptions) -> str:
    return "..." if options.ascii_only else "…"


def shortened(name: str, width: int, mark: str = "…") -> str:
    """Cut a name to some cells; a mark stands for its end."""
    if cell_len(name) <= width:
        return name
    return set_cell_size(name, max(0, width - cell_len(mark))).rstrip() + mark
