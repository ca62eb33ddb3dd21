"""What trials that are runs share: a seed of their own among the runs of a setting, and a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from objectives.records import attributes as attr
from sonarseg.files.whole import write_atomically
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG


def choose_seed(study: optuna.Study, trial: optuna.Trial, setting: str, first: int) -> None:
    """Give a trial the next seed of its setting, from `first` on; one that goes on with another has its own.

    Several workers call it one at a time.
    """
    if attr.SEED in trial.user_attrs:
        return
    others = [other for other in study.get_trials(deepcopy=False) if is_of(other, setting)]
    earlier = sum(attr.RETRY_OF not in other.user_attrs for other in others)
    taken = {other.user_attrs.get(attr.SEED) for other in others}
    trial.set_user_attr(attr.SEED, next(n for n in count(first + earlier) if n not in taken))
    trial.set_user_attr(attr.REPETITION, earlier > 0)


def is_of(trial: FrozenTrial, setting: str) -> bool:
    """Whether a trial, running ones included, has chosen a setting."""
    return trial.user_attrs.get(attr.SETTING) == setting


def prepare_run(trial: optuna.Trial, runs_dir: Path, folder: str, config: Callable[[], RunConfig]) -> Path:
    """Name a trial's run folder, and write config.json; one that goes on with a dead trial brings it along.

    Parameters
    ----------
    trial : optuna.Trial
    runs_dir : Path
        Where run folders go.
    folder : str
        How names of run folders begin.
    config : callable
        Gives what config.json holds, if it is not there.
    """
    goes_on = attr.RUN in trial.user_attrs
    if not goes_on:
        trial.set_user_attr(attr.RUN, f"{runs_dir.name}/{folder}-{trial.number:04d}")
    run_dir = runs_dir / Path(trial.user_attrs[attr.RUN]).name
    if not goes_on:
        # A folder of this name is left from an older database: nothing in it belongs to this trial.
        shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    if not (run_dir / CONFIG).is_file():
        write_atomically(run_dir / CONFIG, config().model_dump_json(indent=1) + "\n")
    return run_dir
