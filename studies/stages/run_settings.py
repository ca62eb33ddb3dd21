"""How runs are started and shown, apart from what study.toml says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import cpu_count

from objectives.run_monitor import DEFAULT_TIMING, RUN_COMMAND, Timing, follow_run
from sonarseg.progress import Progress, silent

Line = dict[str, Any]


def _segmentation_loss(line: Line) -> str:
    return f"segmentation loss {line['loss_segmentation']:.3f}"


@dataclass(frozen=True)
class RunSettings:
    """How the pipeline works, apart from what study.toml says.

    Attributes
    ----------
    jobs : int
        Processes of the dense CRF; 0 is one for each processor core.
    command : sequence of str
        The run program.
    timing : Timing
        How often to look at a run, how long to wait for its end.
    progress : Progress
        Called at every step.
    """

    jobs: int = 0
    command: Sequence[str] = RUN_COMMAND
    timing: Timing = DEFAULT_TIMING
    progress: Progress = silent

    @property
    def processes(self) -> int:
        """Processes, counted."""
        return self.jobs or int(cpu_count())

    def follow(
        self, run_dir: Path, title: str, total: int, note: Callable[[Line], str] = _segmentation_loss
    ) -> dict[str, Any]:
        """Start a run, or go on with it, and show its epochs; give its summary, as `follow_run`."""
        return follow_run(
            run_dir,
            lambda line: self.progress(title, line["epoch"], total, note(line)),
            command=self.command,
            timing=self.timing,
        )


DEFAULT_RUN_SETTINGS = RunSettings()
