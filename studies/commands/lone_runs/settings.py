"""A run that a person starts by itself: its configuration from the workspace's study.toml, and its device."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from optuna.trial import TrialState
from pydantic import ValidationError

from objectives.records import attributes as attr
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.files.setting_errors import wrong_setting
from sonarseg.losses.config import LossConfig
from sonarseg.progress import Progress
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import RunConfig, Supervision
from sonarseg.training.run import run as train
from sonarseg.training.run_folder.config import read_config
from studies.commands.options.targets import TUNED, crf_named
from studies.commands.results.scaling import has_warm_up, workspace_scaling
from studies.stages.batch_size import study_batch_size
from studies.stages.loss import best_loss, best_rounds
from studies.stages.prepare import UNTUNED_CRF
from studies.stages.run_of_trial import with_rounds
from studies.stages.warm_up import run_config
from studies.storage.open import has_studies, load_study
from studies.workers.leases import device_slots, lease
from studies.workspace import Workspace


@dataclass(frozen=True)
class Wishes:
    """What a person asks of a lone run.

    Attributes
    ----------
    supervision : str
        "labels", "single-label" or "masks".
    crf : str
        A dense CRF setting by name; of no account unless `supervision` is "labels".
    loss : str
        "cross-entropy", "class-weighted", "focal", "lovasz_softmax" or "tuned".
    gamma, alpha : float
        Of the focal loss.
    seed : int or None
        None takes study.toml's.
    from_scratch : bool
        Train a warm-up of its own.
    """

    supervision: Supervision = "labels"
    crf: str = "tuned"
    loss: str = "cross-entropy"
    gamma: float = 2.0
    alpha: float = 0.0
    seed: int | None = None
    from_scratch: bool = False


def lone_run_config(workspace: Workspace, run_dir: Path, wishes: Wishes) -> RunConfig:
    """Configure a lone run.

    It starts from the workspace's warm-up where that is finished, as the trials of the loss study
    do, so that runs can be compared.

    Raises
    ------
    UserError
        Where a wish names what is not there.
    """
    warmed_up = has_warm_up(workspace) and not wishes.from_scratch
    scaling = workspace_scaling(workspace)
    config = run_config(workspace, scaling, stage="self-training" if warmed_up else "full")
    training = config.training.model_copy(update={"batch_size": _batch_size(workspace)})
    update: dict[str, object] = {
        "training": training,
        "survey": workspace.survey_seen_from(run_dir),
        "tiles": os.path.relpath(workspace.tiles_dir.resolve(), run_dir.resolve()),
        "supervision": wishes.supervision,
        "loss": _loss(workspace, wishes),
    }
    if warmed_up:
        update["warm_up"] = os.path.relpath(workspace.warm_up_dir.resolve(), run_dir.resolve())
    if wishes.supervision == "labels":
        update["crf"] = _crf(workspace, wishes.crf, scaling)
    if wishes.seed is not None:
        update["seed"] = wishes.seed
    return with_rounds(config.model_copy(update=update), _rounds(workspace, wishes))


def _batch_size(workspace: Workspace) -> int | Literal["auto"]:
    """That of the study's runs, so that this one can be compared with them."""
    if not workspace.database_path.is_file():
        return workspace.config.training.batch_size
    return study_batch_size(load_study(workspace.database_path, "loss"), workspace.config)


def dry_run_config(workspace: Workspace, run_dir: Path, wishes: Wishes) -> RunConfig:
    """Configure a dry run, whose time does not depend on which CRF is best: it needs no crf study."""
    tuned = workspace.database_path.is_file() and load_study(workspace.database_path, "crf").get_trials(
        deepcopy=False, states=(TrialState.COMPLETE,)
    )
    if wishes.crf == TUNED and not tuned:
        wishes = replace(wishes, crf=UNTUNED_CRF)
    return lone_run_config(workspace, run_dir, wishes)


def _crf(workspace: Workspace, named: str, scaling: GreyScaling) -> CrfParameters:
    """Find the setting; where no val mask lets anything be tuned, the published one stands in."""
    known = named == TUNED and has_studies(workspace.database)
    if known and attr.UNTUNED in load_study(workspace.database, "crf").user_attrs:
        named = UNTUNED_CRF
    return crf_named(workspace, named, scaling)


def _loss(workspace: Workspace, wishes: Wishes) -> LossConfig:
    if wishes.loss == "tuned":
        return best_loss(load_study(workspace.database, "loss"))
    if wishes.loss == "class-weighted":
        # By the definition of alpha_c, focal loss with gamma 0 and alpha 1.
        return LossConfig(name="focal", gamma=0.0, alpha=1.0)
    values: dict[str, object] = {"name": wishes.loss}
    if wishes.loss == "focal":
        values |= {"gamma": wishes.gamma, "alpha": wishes.alpha}
    try:
        return LossConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--{wrong_setting(LossConfig, error, typed=True).problem}.") from error


def _rounds(workspace: Workspace, wishes: Wishes) -> int | None:
    """Rounds that belong to the tuned loss, if the study has searched them; else study.toml's."""
    return best_rounds(load_study(workspace.database, "loss")) if wishes.loss == "tuned" else None


def train_on_a_lease(run_dir: Path, progress: Progress) -> dict[str, Any]:
    """Train a lone run, or go on with it, on a device that no study computes on; return its summary.

    Raises
    ------
    UserError, RunFailed
        As `sonarseg.training.run.run` does.
    """
    places = device_slots(read_config(run_dir).device)
    with lease(places, progress):
        return train(run_dir, progress, lower_batch_size=True)


def refuse_other_settings(
    stored: RunConfig, wanted: RunConfig, fields: Collection[str], run_dir: Path
) -> None:
    """Refuse to go on with a run whose settings are not those asked for.

    Parameters
    ----------
    stored, wanted : RunConfig
        What config.json says, and what it would say if the run were new.
    fields : collection of str
        The fields that were asked for.
    run_dir : Path
        The run.

    Raises
    ------
    UserError
        Where they differ.
    """
    for name in sorted(fields):
        if getattr(stored, name) != getattr(wanted, name):
            raise UserError(
                f"{run_dir / 'config.json'} has another {name} than was asked for: name a new folder, "
                "or leave the options out to go on with this run."
            )
