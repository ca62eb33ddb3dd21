"""What one loss trial does: a self-training run of its own process, followed to its end."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from objectives.outcome import OutOfMemory, TrialFailed
from objectives.run_follower import DEFAULT_TIMING, RUN_COMMAND, StopRun, Timing, follow_run
from objectives.search_space import setting_text, suggest_loss
from sonarseg.progress import Progress, silent
from sonarseg.training.batch_size import smaller
from sonarseg.training.config import RunConfig
from sonarseg.training.record import write_atomically

CONFIG = "config.json"


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
    set_aside : callable
        Asked each epoch whether the study has begun anew, with smaller batches; the run then ends.
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
    set_aside: Callable[[], bool] = _never

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
        run_dir, setting = self._prepare(trial)
        title = f"trial {trial.number}, {setting}, seed {trial.user_attrs['seed']}"
        try:
            summary = follow_run(
                run_dir, self._watcher(trial, title), command=self.command, timing=self.timing
            )
        except OutOfMemory as error:
            if smaller(self.base.training.tiles_a_step) is None:
                raise TrialFailed(str(error)) from error
            raise
        trial.set_user_attr("metrics", summary["metrics"])
        trial.set_user_attr("confusions", summary["confusions"])
        trial.set_user_attr("seconds", summary["seconds"])
        trial.set_user_attr("joules", summary.get("joules"))
        trial.set_user_attr("frequencies", summary["frequencies"])
        value = summary["metrics"].get(self.metric)
        if value is None or not math.isfinite(value):
            raise TrialFailed(f"{self.metric} of the finished run is undefined.")
        return float(value)

    def _prepare(self, trial: optuna.Trial) -> tuple[Path, str]:
        """Choose loss, seed and run folder, and write config.json.

        A trial that goes on with a dead one brings its seed and run folder along.
        """
        loss = suggest_loss(trial)
        setting = setting_text(loss)
        trial.set_user_attr("setting", setting)
        trial.set_user_attr("batch_size", self.base.training.tiles_a_step)
        earlier = earlier_runs(trial.study.get_trials(deepcopy=False), trial.number, setting)
        if "seed" not in trial.user_attrs:
            trial.set_user_attr("seed", self.seed + earlier)
            trial.set_user_attr("repetition", earlier > 0)
        goes_on = "run" in trial.user_attrs
        if not goes_on:
            trial.set_user_attr("run", f"{self.runs_dir.name}/{self.folder}-{trial.number:04d}")
        run_dir = self.runs_dir / Path(trial.user_attrs["run"]).name
        if not goes_on:
            # A folder of this name is left from an older database: nothing in it belongs to this trial.
            shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.mkdir(parents=True, exist_ok=True)
        if not (run_dir / CONFIG).is_file():
            config = self.base.model_copy(update={"loss": loss, "seed": trial.user_attrs["seed"]})
            write_atomically(run_dir / CONFIG, config.model_dump_json(indent=1) + "\n")
        return run_dir, setting

    def _watcher(self, trial: optuna.Trial, title: str) -> Callable[[dict[str, Any]], None]:
        def on_epoch(line: dict[str, Any]) -> None:
            epoch = line["epoch"]
            if self.set_aside():
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
            if self.prune and epoch < self.epochs and trial.should_prune():
                raise StopRun(
                    optuna.TrialPruned(
                        f"{self.metric} was {value:.4f} after epoch {epoch}, "
                        "below the median of finished runs of the same loss."
                    ),
                    summary_says="pruned",
                )

        return on_epoch


def earlier_runs(trials: Sequence[FrozenTrial], number: int, setting: str) -> int:
    """Count the earlier trials of a setting, running ones included, retries of a trial left out."""
    return sum(
        1
        for other in trials
        if other.number < number
        and other.user_attrs.get("setting") == setting
        and "retry_of" not in other.user_attrs
    )
