"""The maps that crf and loss study start from: those of the cam study's winner, if there is one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from objectives.records import attributes as attr
from objectives.records.map_ranking import best_maps
from objectives.records.study import REQUIRED, StudyKind
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_folder, write_json
from sonarseg.progress import Progress
from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
from sonarseg.training.run_folder.record import SUMMARY
from studies.workspace import CHOSEN_MAPS, Workspace


def settle_maps(workspace: Workspace, studies: Mapping[StudyKind, optuna.Study], progress: Progress) -> None:
    """Make the run of the best maps the workspace's warm-up, unless that is done.

    Call it with the workspace locked. What was chosen stays once a trial of the crf or loss study has begun:
    their trials are compared on equal maps.

    Raises
    ------
    UserError
        If the cam study is to be searched first and has no complete trial.
    """
    chosen = _choice(workspace, studies)
    if chosen is None or workspace.chosen_maps == chosen:
        return
    _make_room(workspace, progress)
    source = workspace.root / str(chosen["run"])
    with whole_folder(workspace.warm_up_dir) as partial:
        if (source / SUMMARY).is_file() and is_whole(source / CHECKPOINT):
            shutil.copytree(source, partial, dirs_exist_ok=True)
        # Without its run, the warm-up is trained again with the same settings and seed.
        write_json(partial / CHOSEN_MAPS, chosen)
    progress("warm-up", 1, 1, f"is that of cam trial {chosen['trial']}, the median seed of the best maps")


def _choice(workspace: Workspace, studies: Mapping[StudyKind, optuna.Study]) -> dict[str, Any] | None:
    """Read what was chosen, or choose and note it; None if nothing was searched."""
    cam, later = studies.get("cam"), (studies["loss"], studies["crf"])
    noted = _noted(studies)
    if maps_are_settled(studies) or cam is None or attr.UNTUNED in cam.user_attrs:
        return noted
    best = best_maps(cam.get_trials(deepcopy=False))
    if best is None:
        if not workspace.config.cam.trials:
            return noted
        raise UserError(
            "no trial of the cam study is complete: run `sonarseg tune cam` first, and see `sonarseg status` "
            "for the reasons of failed trials; trials = 0 under [cam] in study.toml leaves the study out."
        )
    trial = best.median
    chosen = {
        "trial": trial.number,
        "params": trial.params,
        "seed": trial.user_attrs[attr.SEED],
        "run": trial.user_attrs[attr.RUN],
        "mean": best.mean,
        "runs": [run.number for run in best.runs],
    }
    if chosen != noted:
        for study in later:
            study.set_user_attr(attr.CAM, chosen)
    return chosen


def maps_are_settled(studies: Mapping[StudyKind, optuna.Study]) -> bool:
    """Whether a trial has begun that needs the maps as they are."""
    later = (studies["crf"], studies["loss"])
    return any(t.state != TrialState.WAITING for study in later for t in study.get_trials(deepcopy=False))


def maps_can_be_searched(studies: Mapping[StudyKind, optuna.Study]) -> bool:
    """Whether the later studies have not begun on maps that no cam study chose."""
    return not maps_are_settled(studies) or _noted(studies) is not None


def ready_for_crf_study(cam: optuna.Study) -> bool:
    """Whether there are best maps to start from, or nothing could be searched at all."""
    return attr.UNTUNED in cam.user_attrs or best_maps(cam.get_trials(deepcopy=False)) is not None


def _noted(studies: Mapping[StudyKind, optuna.Study]) -> dict[str, Any] | None:
    """What was chosen; one of the later studies may have been removed and made again."""
    found = (studies[kind].user_attrs.get(attr.CAM) for kind in REQUIRED)
    return next((chosen for chosen in found if chosen is not None), None)


def _make_room(workspace: Workspace, progress: Progress) -> None:
    """Remove the copy of an earlier choice; a warm-up that was trained by itself is moved aside."""
    for folder in (workspace.cams_dir, workspace.pseudo_labels_dir):
        shutil.rmtree(folder, ignore_errors=True)
    place = workspace.warm_up_dir
    if workspace.chosen_maps is not None:
        shutil.rmtree(place)
    elif place.exists():
        aside = next(p for n in count(1) if not (p := _aside(place, n)).exists())
        place.rename(aside)
        progress("warm-up", 1, 1, f"of study.toml's own settings is in {aside.name} now")


def _aside(place: Path, number: int) -> Path:
    return place.with_name(f"other-{number}-{place.name}")
