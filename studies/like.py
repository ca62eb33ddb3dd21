"""A new workspace like another one: its settings, and its warm-up if that would come out the same."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path

from sonarseg.files.whole import whole_folder, write_atomically
from sonarseg.survey.layout import Survey
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
from sonarseg.training.run_folder.config import CONFIG, read_config
from sonarseg.training.run_folder.record import SUMMARY
from studies.config import StudyConfig
from studies.stages.warm_up import difference, run_config
from studies.template import survey_reference
from studies.workspace import Workspace


def free_name(workspace: Path) -> Path:
    """Find a name for a workspace: the one given, or with the first number that is free."""
    if not workspace.exists():
        return workspace
    numbered = (workspace.with_name(f"{workspace.name}-{n}") for n in count(2))
    return next(place for place in numbered if not place.exists())


def settings_like(old: Workspace, survey: Survey, root: Path) -> StudyConfig:
    """Take over the settings of a workspace for a survey.

    Parameters
    ----------
    survey : Survey
        Its background class is taken.
    root : Path
        The new workspace.
    """
    network = old.config.network
    if network.weights not in ("none", "imagenet") and not Path(network.weights).is_absolute():
        weights = os.path.relpath(old.root.resolve() / network.weights, root.resolve())
        network = network.model_copy(update={"weights": Path(weights).as_posix()})
    return old.config.model_copy(
        update={
            "name": root.resolve().name,
            "survey": survey_reference(survey.root, root),
            "background": survey.background,
            "network": network,
        }
    )


def take_over_warm_up(old: Workspace, new: Workspace, survey: Survey) -> str | None:
    """Copy the warm-up of a workspace into a new one if it would be the same there; else say why not.

    Parameters
    ----------
    survey : Survey
        Of the new workspace.
    """
    source = old.warm_up_dir
    if not ((source / SUMMARY).is_file() and is_whole(source / CHECKPOINT)):
        return f"{old.root} has no finished warm-up"
    if (why := difference(new, survey, source)) is not None:
        return why
    stored = read_config(source)
    there = run_config(new, stored.scaling, stage="warm-up") if stored.scaling is not None else stored
    # What the run's hash leaves out: where things are, and what it computes on
    places = ("survey", "tiles", "device", "runs_per_device")
    config = stored.model_copy(update={name: getattr(there, name) for name in places})
    if new.warm_up_dir.exists():
        return f"{new.warm_up_dir} is there already"
    with whole_folder(new.warm_up_dir) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)
        write_atomically(partial / CONFIG, config.model_dump_json(indent=1) + "\n")
    return None
