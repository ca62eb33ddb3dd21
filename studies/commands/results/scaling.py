"""The survey-wide scaling to 0..255 that a workspace uses."""

from __future__ import annotations

from sonarseg.survey.scaling import GreyScaling, fit_scaling
from sonarseg.training.run_folder.config import read_config
from sonarseg.training.run_folder.record import SUMMARY
from studies.workspace import Workspace


def has_warm_up(workspace: Workspace) -> bool:
    """Whether the run that everything starts from is finished."""
    return (workspace.warm_up_dir / SUMMARY).is_file()


def workspace_scaling(workspace: Workspace) -> GreyScaling:
    """Take the warm-up's scaling, or fit it as the warm-up would."""
    stored = read_config(workspace.warm_up_dir).scaling if has_warm_up(workspace) else None
    return stored or fit_scaling(workspace.survey())
