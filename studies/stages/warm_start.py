"""Begin a study with what another one has found: `--from`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.ranking import rank
from objectives.records.study import StudyKind
from objectives.records.trial import ROUNDS, is_branch_alone, is_named, objective_value, without_rounds
from objectives.widening import widened
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.errors import UserError
from studies.compatibility import comparable_settings
from studies.config import STUDY_TOML
from studies.server_address import Location
from studies.storage.open import present_studies, storage_errors
from studies.trials.ask_lock import ask_lock
from studies.workspace import Workspace

# Settings that are tried again on the new survey: the best of the other study.
BEST = 5


def take_over(studies: Mapping[StudyKind, optuna.Study], workspace: Workspace, source: Path) -> int:
    """Take over trials of another workspace's studies; doing it again takes nothing twice.

    Where survey, metric, warm-up and engine of two crf studies are the same, a value means the same: complete
    trials are added as they are, outside the budget. Otherwise the best settings are enqueued and tried anew.
    Either way the user attribute `warm_start` says where a trial comes from. Settings with a name, the
    published ones, are left there: every study tries them itself.

    Parameters
    ----------
    studies : mapping
        This workspace's studies.
    workspace : Workspace
        This workspace.
    source : Path
        The other workspace, or its study.db.

    Returns
    -------
    int
        Trials added and settings enqueued.

    Raises
    ------
    UserError
        Where there is no such database, or it is this one.
    """
    place = _place(source)
    if place in (workspace.database, workspace.database_path.resolve()):
        raise UserError(f"--from {source} names this workspace itself: name the one to take settings from.")
    try:
        others = present_studies(place)
    except UserError as error:
        raise UserError(f"--from {source}: {error}") from error
    taken = 0
    for kind, study in studies.items():
        if kind not in others:
            continue
        with storage_errors(workspace.database), ask_lock(study, workspace):
            taken += _take(study, others[kind], _told(place), workspace)
    return taken


def _place(source: Path) -> Location:
    """Find where the named studies live: study.toml stands in the folder of a workspace."""
    if (source / STUDY_TOML).is_file():
        place = Workspace(source).database
        return place.resolve() if isinstance(place, Path) else place
    return (source / "study.db" if source.is_dir() else source).resolve()


def _told(place: Location) -> str:
    return str(place) if isinstance(place, Path) else f"{place} ({place.name})"


def _take(study: optuna.Study, other: optuna.Study, source: str, workspace: Workspace) -> int:
    sources = study.user_attrs.get(attr.WARM_STARTS, [])
    if source in sources:
        return 0
    complete = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if study.user_attrs[attr.KIND] == "cam":
        # More seeds of a setting are no settings.
        complete = [trial for trial in complete if not trial.user_attrs.get(attr.REPETITION)]
    named = {trial.number for trial in complete if is_named(trial)}
    new = [trial for trial in complete if not named & {trial.number, _run_again_with(trial)}]
    # The runs of two loss studies start from pseudo-labels of their own.
    comparable = study.user_attrs[attr.KIND] == "crf" and _same_question(study.user_attrs, other.user_attrs)
    comparable = comparable and study.directions == other.directions
    comparable = comparable and _engine(study, workspace) == other.user_attrs.get(attr.ENGINE)
    if not comparable:
        new = _best_settings(new)
    # What was taken before an earlier start was killed half way
    known = {
        (origin["database"], origin["trial"])
        for trial in study.get_trials(deepcopy=False)
        if (origin := trial.user_attrs.get(attr.ORIGIN)) is not None
    }
    new = [trial for trial in new if (source, trial.number) not in known]
    for trial in new:
        origin = {
            "database": source,
            "trial": trial.number,
            "value": objective_value(trial),
            "complete": comparable,
        }
        if comparable:
            study.add_trial(_inherited(trial, origin))
        else:
            study.enqueue_trial(without_rounds(trial.params), user_attrs={attr.ORIGIN: origin})
    study.set_user_attr(attr.WARM_STARTS, [*sources, source])
    return len(new)


def _best_settings(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best trials; of a loss run the best of its rounds, since every run tells what all are worth."""
    found: dict[int, FrozenTrial] = {}
    for trial in sorted(trials, key=lambda trial: rank(objective_value(trial), trial.number)):
        if not is_branch_alone(trial.params):
            found.setdefault(_run_again_with(trial), trial)
    return list(found.values())[:BEST]


def _run_again_with(trial: FrozenTrial) -> int:
    """Number of the trial whose run tells again what a trial is worth: rounds are read off one run."""
    return int(trial.user_attrs.get(attr.DERIVED, trial.number)) if ROUNDS in trial.params else trial.number


def _same_question(here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a value means the same in both studies."""
    if (
        here[attr.SURVEY] != there[attr.SURVEY]
        or here[attr.METRIC] != there[attr.METRIC]
        or here[attr.TILES] != there[attr.TILES]
    ):
        return False
    if attr.CAM in here or attr.CAM in there:
        # Maps of two searches are not the same.
        return False
    settled = ("seed", "network", "cam", "training", "sonar", "background")
    return all(
        comparable_settings(here[attr.CONFIG], name) == comparable_settings(there[attr.CONFIG], name)
        for name in settled
    )


def _engine(study: optuna.Study, workspace: Workspace) -> str:
    """Engine that the crf study was begun with, or will be."""
    if (begun_with := study.user_attrs.get(attr.ENGINE)) is not None:
        return str(begun_with)
    return pick_engine(workspace.config.crf.engine, workspace.config.device).name


def _inherited(trial: FrozenTrial, origin: dict[str, Any]) -> FrozenTrial:
    # The numbers of trials that some of them hold are those of the other study, and so is what they cost.
    dropped = (
        attr.WORKER,
        attr.DEVICE,
        attr.SECONDS,
        attr.RUN,
        attr.ENQUEUED,
        # What races stopped there is missing here: the others are no random draw any more.
        attr.PROPOSAL,
        attr.DERIVED,
        attr.FINISHED_RACE,
        attr.BETTER_ITERATIONS,
        attr.RETRY_OF,
        attr.DEATHS,
    )
    attributes = {name: value for name, value in trial.user_attrs.items() if name not in dropped}
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        values=trial.values,
        params=trial.params,
        distributions=widened(trial.distributions, trial.params),
        user_attrs={**attributes, attr.ORIGIN: origin},
        intermediate_values=trial.intermediate_values,
    )
