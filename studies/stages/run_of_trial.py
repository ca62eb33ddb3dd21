"""Whether a run folder still holds the run of a loss trial: it can be lost, or hold another run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from optuna.trial import FrozenTrial

from objectives.records import attributes as attr
from objectives.records.trial import ROUNDS, is_branch_alone, is_derived
from objectives.space import loss_of_params, setting_text
from sonarseg.errors import UserError
from sonarseg.losses.config import LossConfig
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY
from studies.workspace import Workspace


def loss_of(trial: FrozenTrial) -> LossConfig:
    """Read the loss that a trial has run."""
    return loss_of_params(trial.params)


def first_rounds(trial: FrozenTrial) -> str:
    """Name what a trial that was read off another one is: the first rounds of its run."""
    rounds = trial.params[ROUNDS]
    number = "" if rounds == 1 else f" {rounds}"
    return f"first{number} round{'s' if number else ''} of trial {trial.user_attrs[attr.DERIVED]}"


def with_rounds(config: RunConfig, rounds: int | None) -> RunConfig:
    """The same run with another number of rounds; None leaves it as it is."""
    if rounds is None:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"rounds": rounds})})


def is_run_of(trial: FrozenTrial, run_dir: Path) -> bool:
    """Whether the settings in a run folder are a trial's: its loss, its seed and, if searched, its rounds."""
    try:
        config = json.loads((run_dir / CONFIG).read_text(encoding="utf-8"))
        loss, seed = LossConfig.model_validate(config["loss"]), config["seed"]
        if ROUNDS in trial.params and trial.params[ROUNDS] != config["training"]["rounds"]:
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return setting_text(loss) == setting_text(loss_of(trial)) and seed == trial.user_attrs.get(attr.SEED)


def trained_run(workspace: Workspace, trial: FrozenTrial) -> Path:
    """Find the run folder of a complete trial.

    Parameters
    ----------
    workspace : Workspace
    trial : FrozenTrial
        Of its loss study.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If its network is lost, is not trained yet or is none, or the folder holds another run.
    """
    if is_branch_alone(trial.params):
        raise UserError(
            f"Trial {trial.number} of the loss study is the classification branch alone, before the first "
            "round: it is scored to be compared, and has no run to use; name another trial."
        )
    run_dir = workspace.root / str(trial.user_attrs[attr.RUN])
    if is_derived(trial) and not run_dir.exists():
        problem = f"trial {trial.number}, the {first_rounds(trial)}, has no run of its own in {run_dir} yet"
    elif not (run_dir / CHECKPOINT).is_file():
        problem = f"{run_dir}, the run of trial {trial.number}, is lost"
    elif not is_run_of(trial, run_dir):
        problem = f"{run_dir} holds another run than trial {trial.number} of the loss study"
    else:
        return run_dir
    again = f"`sonarseg tune loss {shlex.quote(str(workspace.root))}`"
    raise UserError(
        f"{problem}: {again} trains the run of the best trial again, with the same setting and seed."
    )


def has_masks_of(workspace: Workspace, trial: FrozenTrial) -> bool:
    """Whether the masks in a trial's run folder are those that it predicted for val."""
    run_dir = workspace.root / str(trial.user_attrs[attr.RUN])
    return (run_dir / SUMMARY).is_file() and is_run_of(trial, run_dir)
