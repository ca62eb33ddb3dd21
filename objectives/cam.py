"""What one cam trial does: a warm-up run of its own process, worth what its maps are as pseudo-labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial

from objectives.enqueued import suggested
from objectives.map_space import MapSpace, map_text, suggest_maps, with_maps
from objectives.outcome import OutOfMemory, TrialFailed
from objectives.records import attributes as attr
from objectives.run_monitor import DEFAULT_TIMING, RUN_COMMAND, StopRun, Timing, follow_run
from objectives.seeded_run import choose_seed, prepare_run
from sonarseg.progress import Progress, silent
from sonarseg.training.config import RunConfig
from sonarseg.training.schedule import epochs_before_rounds


@dataclass(frozen=True)
class CamObjective:
    """The objective of the cam study.

    Attributes
    ----------
    base : RunConfig
        A warm-up that scores its maps; its paths are relative to a folder in `runs_dir`.
    space : MapSpace
        What a trial may choose.
    runs_dir : Path
        Where run folders go.
    metric : str
        The score of the maps of val that is a trial's value.
    seed : int
        Seed of the first run of a setting; each further run of the setting counts one up.
    command : sequence of str
        The run program.
    timing : Timing
        How often to look at the run, how long to wait for its end.
    progress : Progress
        Called per epoch.
    """

    base: RunConfig
    space: MapSpace
    runs_dir: Path
    metric: str
    seed: int = 0
    command: Sequence[str] = RUN_COMMAND
    timing: Timing = DEFAULT_TIMING
    progress: Progress = silent

    def __call__(self, trial: optuna.Trial) -> float:
        """Run one trial and return its value.

        Raises
        ------
        TrialFailed
            If the run failed or its metric is undefined.
        UserError
            If the run refused its input.
        """
        if attr.SETTING not in trial.user_attrs:
            self.choose(trial.study, trial)
        run_dir = prepare_run(trial, self.runs_dir, "cam", lambda: self._config(trial))
        try:
            summary = follow_run(run_dir, self._watcher(trial), command=self.command, timing=self.timing)
        except OutOfMemory as error:
            # Maps do not depend on the batch size as losses do: no other trial has to be run again.
            raise TrialFailed(str(error)) from error
        trial.set_user_attr(attr.SCORES, summary["maps"]["metrics"])
        trial.set_user_attr(attr.CONFUSIONS, summary["maps"]["confusions"])
        trial.set_user_attr(attr.SECONDS, summary["seconds"])
        trial.set_user_attr(attr.JOULES, summary.get("joules"))
        trial.set_user_attr(attr.BATCH_SIZE, summary["batch_size"])
        value = summary["maps"]["metrics"].get(self.metric)
        if value is None or not math.isfinite(value):
            raise TrialFailed(f"{self.metric} of the maps is undefined.")
        return float(value)

    def choose(self, study: optuna.Study, trial: optuna.Trial) -> None:
        """Choose settings and seed of a trial; several workers call it one at a time."""
        setting = map_text(suggested(trial, self._suggest))
        choose_seed(study, trial, setting, self.seed)
        # Last: it tells that all is chosen.
        trial.set_user_attr(attr.SETTING, setting)

    def _suggest(self, trial: BaseTrial) -> dict[str, Any]:
        with warnings.catch_warnings():
            # study.toml's own setting is run although it may lie outside the ranges searched.
            warnings.filterwarnings("ignore", message="Fixed parameter")
            params = suggest_maps(trial, self.space)
        # A value that such a run cannot have is refused here, before anything is trained.
        with_maps(self.base, params)
        return params

    def _config(self, trial: optuna.Trial) -> RunConfig:
        config = with_maps(self.base, self._suggest(trial))
        return config.model_copy(update={"seed": trial.user_attrs[attr.SEED]})

    def _watcher(self, trial: optuna.Trial) -> Callable[[dict[str, Any]], None]:
        title = f"trial {trial.number}, {trial.params['loss']}, seed {trial.user_attrs[attr.SEED]}"
        config = with_maps(self.base, trial.params)
        epochs = epochs_before_rounds(config.network, config.training)
        self.progress(title, 0, epochs, "")

        def on_epoch(line: dict[str, Any]) -> None:
            loss = line["loss_classification"]
            if not math.isfinite(loss):
                raise StopRun(TrialFailed(f"loss_classification became {loss} in epoch {line['epoch']}."))
            self.progress(title, line["epoch"], epochs, f"classification loss {loss:.3f}")

        return on_epoch
