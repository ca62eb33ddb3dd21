"""How many modules one goes through to follow a story of the program: `python benchmarks/story_length.py`.

Three stories are played on a small simulated survey while every call between modules of ours is noted:
`tune crf` until the first value is stored, a trial of the loss study from ask to state, and a number of the
report on its way from the database to the page. In the first two a module of studies, objectives or reports
counts if it calls into another one that it imports: one that calls none can be taken at its word. Those of
sonarseg, the library below, are left out, and so is the run that a loss trial follows, a program of its own.
In the third a module counts if the number passes through one of its functions.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import optuna
from optuna.storages import RDBStorage

from objectives.records.read import read_studies
from reports.page.build import write_report
from studies.commands.tune import TuneOptions, tune_studies
from studies.trials import loop
from studies.workspace import Workspace
from tests.support.command_line import done, shrink

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sonarseg", "objectives", "studies", "reports")
CRF, LOSS, NUMBER = "tune crf to the first value", "a loss trial from ask to state", "a number of the report"
# So many modules are few enough to keep in mind; each one more is marked.
MOST = {CRF: 19, LOSS: 19, NUMBER: 12}


class Ended(BaseException):
    """The story is at its end; no handler of the program may take it for an error."""


class Trace:
    """Modules of ours that run, or through which what is followed passes, and those that call on."""

    def __init__(self, follows: Callable[[object], bool] | None = None) -> None:
        self.entered: dict[str, None] = {}
        self.calling: set[str] = set()
        self._follows = follows

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Note a call or a return; what runs only because a module is imported is no part of the story."""
        module = module_of(frame)
        if module is None or frame.f_code.co_name == "<module>" or is_importing(frame):
            return
        caller = caller_of(frame)
        if self._follows is not None:
            passed = [argument] if event == "return" else list(frame.f_locals.values())
            if any(map(self._follows, passed)):
                self.entered |= dict.fromkeys([module] if event == "return" else [caller or module, module])
        elif event == "call":
            self.entered[module] = None
            if caller is not None and not module.startswith("sonarseg") and module in imported_by(caller):
                self.calling.add(caller)

    def steps(self) -> list[str]:
        """Modules outside sonarseg that call on, in the order in which they are entered."""
        return [m for m in self.entered if m in self.calling and not m.startswith("sonarseg")]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Trace this thread and those that it starts."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def callers(frame: FrameType) -> Iterator[FrameType]:
    above = frame.f_back
    while above is not None:
        yield above
        above = above.f_back


def caller_of(frame: FrameType) -> str | None:
    """Module of ours that calls a frame, directly or through a package."""
    return next((module for each in callers(frame) if (module := module_of(each))), None)


@cache
def imported_by(module: str) -> set[str]:
    """Modules that a module imports; what else it calls was handed to it, as the progress of a command is."""
    found = set[str]()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))


def module_of(frame: FrameType) -> str | None:
    return named(frame.f_code.co_filename)


@cache
def named(file: str) -> str | None:
    path = Path(file)
    if (
        path.suffix != ".py"
        or not path.is_relative_to(ROOT)
        or path.relative_to(ROOT).parts[0] not in PACKAGES
    ):
        return None
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def is_importing(frame: FrameType) -> bool:
    return any(each.f_code.co_filename.startswith("<frozen importlib") for each in callers(frame))


@contextmanager
def ended_with_a_trial(begin: Callable[[], None] | None = None) -> Iterator[None]:
    """Raise `Ended` as soon as a trial's end is stored; `begin` is called when a trial is asked for."""
    store, ask = RDBStorage.set_trial_state_values, loop._ask

    def storing(self: RDBStorage, trial_id: int, state: Any, values: Any = None) -> bool:
        stored = store(self, trial_id, state, values)
        if state.is_finished():
            sys.setprofile(None)
            raise Ended
        return stored

    def asking(*arguments: Any) -> optuna.Trial:
        if begin is not None:
            begin()
        return ask(*arguments)

    with (
        mock.patch.object(RDBStorage, "set_trial_state_values", storing),
        mock.patch.object(loop, "_ask", asking),
        suppress(Ended),
    ):
        yield


def crf_story(workspace: Path) -> Trace:
    """`sonarseg tune crf` by one worker; the warm-up and its CAMs are there."""
    trace = Trace()
    with ended_with_a_trial(), trace.on():
        tune_studies(Workspace(workspace), TuneOptions("crf", workers=1, quiet=True))
    return trace


def loss_story(workspace: Path) -> Trace:
    """One trial of the loss study, from the moment in which it is asked for."""
    trace = Trace()
    with ended_with_a_trial(lambda: sys.setprofile(trace)):
        tune_studies(Workspace(workspace), TuneOptions("loss", workers=1, quiet=True))
    return trace


def number_story(workspace: Path) -> Trace:
    """The `miou_paper` of the best crf setting, until the page holds it."""
    best = read_studies(workspace)["crf"].best()
    value = float(best.scores["miou_paper"] or 0) if best else 0.0
    shown = re.compile(rf"(?<![\d.]){value:.3f}(?!\d)")
    trace = Trace(follows=lambda found: holds(found, value, shown))
    with trace.on():
        write_report(workspace)
    return trace


def holds(found: object, value: float, shown: re.Pattern[str], depth: int = 3) -> bool:
    """Whether an object is the number or a text that shows it, or a list or dict that holds one."""
    if isinstance(found, float | str):
        return found == value if isinstance(found, float) else shown.search(found) is not None
    if depth == 0:
        return False
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
    return any(holds(each, value, shown, depth - 1) for each in inner)


def summary_of(module: str) -> str:
    """First line of a module's docstring."""
    return (ast.get_docstring(tree_of(module)) or "").split("\n")[0]


def show(story: str, trace: Trace) -> None:
    """Print the modules of a story in the order in which they are entered; its steps are numbered."""
    own = [module for module in trace.entered if story == NUMBER or not module.startswith("sonarseg")]
    steps = own if story == NUMBER else trace.steps()
    library = len(trace.entered) - len(own)
    print(
        f"{story}: {len(steps)} steps, {len(own) - len(steps)} modules that they ask, {library} of sonarseg"
    )
    for module in own:
        place = f"{steps.index(module) + 1:2}" if module in steps else "    "
        more = " (one more)" if module in steps[MOST[story] :] else ""
        print(f"{place} {module}{more}: {summary_of(module)}")


def main() -> None:
    """Make a small workspace, play the stories in it and print their modules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done("simulate", "survey", "--tiles", 30, "--size", 48, "--seed", 1, cwd=folder)
        done("init", "survey", "--background", "none", cwd=folder)
        workspace = folder / "survey-study"
        shrink(workspace / "study.toml")
        done("tune", "crf", "--quiet", cwd=folder)
        for file in workspace.glob("study.db*"):
            file.unlink()
        stories = [(CRF, crf_story(workspace))]
        done("tune", "crf", "--quiet", cwd=folder)
        stories += [(LOSS, loss_story(workspace)), (NUMBER, number_story(workspace))]
    for story, trace in stories:
        show(story, trace)


if __name__ == "__main__":
    main()
