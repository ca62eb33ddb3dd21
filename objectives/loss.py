"""What one loss trial does: a self-training run of its own process, followed to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial

from objectives.enqueued import suggested
from objectives.outcome import OutOfMemory, TrialFailed
from objectives.records import attributes as attr
from objectives.run_monitor import DEFAULT_TIMING, RUN_COMMAND, StopRun, Timing, follow_run
from objectives.seeded_run import choose_seed, prepare_run
from objectives.space import setting_text, suggest_loss
from sonarseg.losses.config import LossConfig
from sonarseg.progress import Progress, silent
from sonarseg.training.batch_size import smaller
from sonarseg.training.config import RunConfig


def _never() -> bool:
    return False


@dataclass(frozen=True)
class LossObjective:
    """The objective of the loss study.

    Attributes
    ----------
    base : RunConfig
        Everything of a run but loss and seed; its paths are relative to a folder in `runs_dir`.
    runs_dir : Path
        Where run folders go.
    metric : str
        The score that is reported each epoch and whose last value is the trial's.
    seed : int
        Seed of the first run of a setting; each further run of the setting counts one up.
    prune : bool
        Ask the study's pruner each epoch.
    command : sequence of str
        The run program.
    timing : Timing
        How often to look at the run, how long to wait for its end.
    folder : str
        How names of run folders begin.
    progress : Progress
        Called an epoch.
    superseded : callable
        Asked each epoch whether the study has begun anew, with smaller batches; the run then ends.
    rounds : int or None
        Rounds of a run, if they are a parameter of the study: what the earlier ones are worth is then stored.
    """

    base: RunConfig
    runs_dir: Path
    metric: str
    seed: int = 0
    prune: bool = True
    command: Sequence[str] = RUN_COMMAND
    timing: Timing = DEFAULT_TIMING
    folder: str = "loss"
    progress: Progress = silent
    superseded: Callable[[], bool] = _never
    rounds: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs of one run."""
        return self.base.training.rounds * self.base.training.epochs_per_round

    def __call__(self, trial: optuna.Trial) -> float:
        """Run one trial and return its value: the metric after the last epoch.

        Raises
        ------
        optuna.TrialPruned
            Where the pruner ended the run.
        TrialFailed
            Where the run failed or its metric is undefined. `OutOfMemory` where smaller batches may help.
        UserError
            Where the run refused its input.
        """
        if attr.SETTING not in trial.user_attrs:
            self.choose(trial.study, trial)
        run_dir = self._prepare(trial)
        watcher = self._watcher(trial, judged_before(trial))
        try:
            summary = follow_run(run_dir, watcher, command=self.command, timing=self.timing)
        except OutOfMemory as error:
            if smaller(self.base.training.tiles_a_step) is None:
                raise TrialFailed(str(error)) from error
            raise
        trial.set_user_attr(attr.SCORES, summary["metrics"])
        trial.set_user_attr(attr.CONFUSIONS, summary["confusions"])
        trial.set_user_attr(attr.CONFUSIONS_SHOWN, summary.get("confusions_shown"))
        trial.set_user_attr(attr.SECONDS, summary["seconds"])
        trial.set_user_attr(attr.JOULES, summary.get("joules"))
        trial.set_user_attr(attr.FREQUENCIES, summary["frequencies"])
        value = summary["metrics"].get(self.metric)
        if value is None or not math.isfinite(value):
            raise TrialFailed(f"{self.metric} of the finished run is undefined.")
        if self.rounds is not None:
            trial.set_user_attr(attr.EARLIER_ROUNDS, self._earlier_rounds(summary.get("rounds", [])))
        return float(value)

    def _earlier_rounds(self, rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Results of the rounds before the last, each with its value."""
        found = [{**each, "value": each["metrics"].get(self.metric)} for each in rounds]
        return [
            each
            for each in found
            if each["round"] != self.rounds and each["value"] is not None and math.isfinite(each["value"])
        ]

    def _suggest(self, trial: BaseTrial) -> LossConfig:
        return suggest_loss(trial, self.rounds)

    def choose(self, study: optuna.Study, trial: optuna.Trial) -> None:
        """Choose loss and seed of a trial; several workers call it one at a time.

        A trial that goes on with a dead one brings its seed along.
        """
        setting = setting_text(suggested(trial, self._suggest))
        choose_seed(study, trial, setting, self.seed)
        trial.set_user_attr(attr.BATCH_SIZE, self.base.training.tiles_a_step)
        # Last: it tells that all is chosen.
        trial.set_user_attr(attr.SETTING, setting)

    def _prepare(self, trial: optuna.Trial) -> Path:
        # What is chosen already is given again.
        return prepare_run(trial, self.runs_dir, self.folder, lambda: self._config(trial))

    def _config(self, trial: optuna.Trial) -> RunConfig:
        chosen = {"loss": self._suggest(trial), "seed": trial.user_attrs[attr.SEED]}
        return self.base.model_copy(update=chosen)

    def _watcher(self, trial: optuna.Trial, judged: int) -> Callable[[dict[str, Any]], None]:
        title = f"trial {trial.number}, {trial.user_attrs[attr.SETTING]}, seed {trial.user_attrs[attr.SEED]}"
        self.progress(title, 0, self.epochs, "")

        def on_epoch(line: dict[str, Any]) -> None:
            epoch = line["epoch"]
            if self.superseded():
                raise StopRun(TrialFailed("the study began anew, with smaller batches."))
            for name in ("loss_segmentation", "loss_classification", self.metric):
                figure = line.get(name)
                if figure is not None and not math.isfinite(figure):
                    raise StopRun(TrialFailed(f"{name} became {figure} in epoch {epoch}."))
            value = line.get(self.metric)
            if value is None:
                return
            trial.report(value, epoch)
            self.progress(title, epoch, self.epochs, f"{self.metric} {value:.3f}")
            if self.prune and judged < epoch < self.epochs and trial.should_prune():
                raise StopRun(
                    optuna.TrialPruned(
                        f"{self.metric} was {value:.4f} after epoch {epoch}, "
                        "below the median of finished runs of the same loss."
                    ),
                    summary_says="pruned",
                )

        return on_epoch


def judged_before(trial: optuna.Trial) -> int:
    """The last epoch that the pruner saw of the interrupted trials which a trial goes on with; else 0.

    The others' median has risen since: judged again, a run would end because it was interrupted.
    """
    trials = {other.number: other for other in trial.study.get_trials(deepcopy=False)}
    judged = 0
    before = trials.get(trial.user_attrs.get(attr.RETRY_OF, -1))
    while before is not None:
        judged = max(judged, before.last_step or 0)
        before = trials.get(before.user_attrs.get(attr.RETRY_OF, -1))
    return judged
