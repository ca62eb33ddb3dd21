"""How runs are started and shown, apart from what study.toml says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joblib import cpu_count

from objectives.run_monitor import DEFAULT_TIMING, RUN_COMMAND, Timing
from sonarseg.progress import Progress, silent


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


DEFAULT_RUN_SETTINGS = RunSettings()
