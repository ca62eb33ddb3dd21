"""Runs each step as a process of its own with a time limit: one that fails or hangs costs itself alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

from gpu.steps import Step

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
# Less is not worth a start.
_LEAST_SECONDS = 10.0
# Of the whole time, for the steps that run together
_KEPT_FOR_TOGETHER = 0.35


def environment(work: Path) -> dict[str, str]:
    """Environment in which steps find the project, installed or not."""
    places = [str(ROOT), str(BENCHMARKS)]
    try:
        version("sonarseg")
    except PackageNotFoundError:
        # A study notes the version of the package that it is made by.
        described = work / "metadata" / "sonarseg-0.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: sonarseg\nVersion: 0\n", encoding="utf-8"
        )
        places.append(str(described.parent))
    if "PYTHONPATH" in os.environ:
        places.append(os.environ["PYTHONPATH"])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}


@dataclass
class Parent:
    """Starts steps, writes down what they print and ends them at their limit.

    Attributes
    ----------
    device, commit : str
        As `gpu.check.Check` has them.
    work : Path
        Folder of all steps; the rows of a step are in NAME.jsonl there.
    log : TextIO
        Gets every line that a step prints.
    end : float
        When all steps end, by `time.monotonic`.
    program : tuple of str
        Does the step that is named to it.
    after_step : callable
        Called at the end of each step.
    """

    device: str
    commit: str
    work: Path
    log: TextIO
    end: float
    program: tuple[str, ...] = (sys.executable, "-m", "gpu.step")
    after_step: Callable[[], None] = lambda: None
    ended: dict[str, str] = field(default_factory=dict)
    """How each step ended."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.environment = environment(self.work)

    def all_steps(self, steps: Sequence[Step]) -> None:
        """Do the steps that run alone, one after the other, then the others at the same time."""
        surveys = self._simulate() if any(step.surveys for step in steps) else None
        together = [step for step in steps if not step.alone]
        kept = _KEPT_FOR_TOGETHER * (self.end - time.monotonic()) if together else 0.0
        try:
            for step in steps:
                if step.alone:
                    if step.surveys and surveys is not None:
                        # It would take a core from what is timed.
                        surveys.wait()
                    self.step(step, kept)
            threads = [threading.Thread(target=self.step, args=(step,)) for step in together]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            if surveys is not None:
                surveys.kill()
                surveys.wait()

    def _simulate(self) -> subprocess.Popen[bytes]:
        """Simulate the surveys, while the steps begin that need none."""
        command = [sys.executable, "-m", "gpu.surveys", str(self.work), self.device]
        return subprocess.Popen(command, env=self.environment)

    def step(self, step: Step, kept: float = 0.0) -> None:
        """Do one step; `kept` seconds are left for what follows."""
        left = self.end - time.monotonic() - kept
        if left < _LEAST_SECONDS:
            self.ended[step.name] = "not begun: no time left"
            return
        options = {"device": self.device, "commit": self.commit, "work": self.work, "rows": self.rows(step)}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        started = time.monotonic()
        process = subprocess.Popen(
            [*self.program, step.name, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            env=self.environment,
            # So that what it has started ends with it
            start_new_session=True,
        )
        watch = threading.Thread(target=_end_all, args=(process, min(step.seconds, left)))
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            self._note(step.name, line)
        watch.join()
        code = process.returncode
        how = {0: "done", -signal.SIGKILL: "ended at its time limit"}.get(code, f"failed with {code}")
        with self.lock:
            self.ended[step.name] = f"{how}, {time.monotonic() - started:.0f} s"
            self.after_step()

    def rows(self, step: Step) -> Path:
        """File of a step's rows."""
        return self.work / f"{step.name}.jsonl"

    def _note(self, name: str, line: str) -> None:
        with self.lock:
            self.log.write(f"[{name}] {line}")
            self.log.flush()
            # Findings and rows
            if line.startswith(("= ", "{'case'")):
                print(f"[{name}] {line.rstrip()}", flush=True)


def _end_all(process: subprocess.Popen[str], seconds: float) -> None:
    """End what a step has started once it ends or its time is over: what lives on keeps its pipe open."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
