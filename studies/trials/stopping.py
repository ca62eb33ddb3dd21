"""When a study begins no more trials although its budget is not spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from objectives.records.trial import objective_value


@dataclass(frozen=True)
class StopRules:
    """Rules that end a study early; trials under way are finished.

    Attributes
    ----------
    hours : float or None
        Begin no trial later than this after the command was started.
    patience : int or None
        Begin no trial after so many finished ones in a row that brought no better value.
    started : float
        When the command was started, on the clock.
    clock : callable
        Seconds; of the day, not of the process, since workers share the start.
    """

    hours: float | None = None
    patience: int | None = None
    clock: Callable[[], float] = time.time
    started: float = field(default_factory=time.time)

    def out_of_time(self) -> bool:
        """Whether the hours are over."""
        return self.hours is not None and self.clock() - self.started >= 3600 * self.hours

    def reason(self, finished: Sequence[FrozenTrial]) -> str | None:
        """Say why to stop; None to go on.

        Parameters
        ----------
        finished : sequence of FrozenTrial
            Trials of the budget that have ended.
        """
        if self.out_of_time():
            return f"the {self.hours:g} hours are over"
        if self.patience is not None and without_gain(finished) >= self.patience:
            return f"the last {self.patience} trials brought no better value"
        return None


NEVER = StopRules()


def without_gain(finished: Sequence[FrozenTrial]) -> int:
    """Count the trials that have ended since the best one did, in the order in which they ended."""
    ordered = sorted(
        (trial for trial in finished if trial.datetime_complete is not None),
        key=lambda trial: (trial.datetime_complete, trial.number),
    )
    best, since = float("-inf"), 0
    for trial in ordered:
        since += 1
        if trial.state == TrialState.COMPLETE and objective_value(trial) > best:
            best, since = objective_value(trial), 0
    return since
