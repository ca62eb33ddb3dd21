"""A study that begins anew under its name, because its trials could not be compared with those to come.

What was done so far stays in the database as a study of another name. Optuna, the dashboard and the report
thus see comparable trials only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import StudyModel
from optuna.trial import FrozenTrial

from objectives.enqueued import enqueued_params
from objectives.records import attributes as attr
from objectives.records.trial import is_derived
from studies.storage.own_trials import OwnStudy

# User attributes of a study that say something of its trials
_OF_TRIALS = (attr.CONFIRM, attr.STOPPED)
# User attributes of a trial that say what it is for
_OF_SETTING = (attr.NAME, attr.ENQUEUED, attr.ORIGIN)


class StudySuperseded(Exception):
    """The study that a worker works on is superseded: its name belongs to another one now."""


def restart(study: optuna.Study, old_name: str, attributes: Mapping[str, Any], first: int) -> None:
    """Give the study's name to a new one in which every setting tried so far waits to be tried again.

    Repetitions are left out: which settings deserve more seeds is decided again. So is what was read off
    other trials. Call it under the ask lock; a program that is killed meanwhile leaves the study as it was.

    Parameters
    ----------
    study : optuna.Study
        In a database.
    old_name : str
        What `study` is called from then on.
    attributes : mapping
        User attributes of the new study; it has those of `study` besides.
    first : int
        Number of the trial whose setting is tried first.
    """
    storage = _backend(study)
    assert isinstance(storage, RDBStorage)
    partial = f"{study.study_name} (not ready)"
    if partial in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=partial, storage=storage)
    new = optuna.create_study(storage=storage, study_name=partial, directions=study.directions)
    kept = {key: value for key, value in study.user_attrs.items() if key not in _OF_TRIALS}
    for key, value in {**kept, **attributes}.items():
        new.set_user_attr(key, value)
    for params, user_attrs in _settings(study.get_trials(deepcopy=False), first):
        new.enqueue_trial(params, user_attrs=user_attrs)
    with storage.engine.begin() as connection:
        for study_id, name in ((study._study_id, old_name), (new._study_id, study.study_name)):
            renamed = sqlalchemy.update(StudyModel).where(StudyModel.study_id == study_id)
            connection.execute(renamed.values(study_name=name))


def _settings(trials: Sequence[FrozenTrial], first: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Parameters and user attributes of every setting, each once, in the order in which they were begun."""
    begun: dict[int, int] = {}
    for trial in trials:
        retry_of = trial.user_attrs.get(attr.RETRY_OF)
        # The trial that was gone on with may have been removed.
        begun[trial.number] = begun.get(-1 if retry_of is None else int(retry_of), trial.number)
    gone_on_with = {trial.user_attrs.get(attr.RETRY_OF) for trial in trials}
    wanted = [
        trial
        for trial in trials
        if trial.number not in gone_on_with
        and not trial.user_attrs.get(attr.REPETITION)
        and not trial.user_attrs.get(attr.REFUSED)
        and not is_derived(trial)
    ]
    wanted.sort(key=lambda trial: (begun[trial.number] != begun.get(first), begun[trial.number]))
    return [
        (
            {**enqueued_params(trial.system_attrs), **trial.params},
            {name: trial.user_attrs[name] for name in _OF_SETTING if name in trial.user_attrs},
        )
        for trial in wanted
    ]


def is_superseded(study: optuna.Study) -> bool:
    """Whether the study's name belongs to another one by now."""
    # Not by way of Optuna's cache, which keeps names for good.
    return _backend(study).get_study_name_from_id(study._study_id) != study.study_name


def successor(study: optuna.Study) -> optuna.Study:
    """Load the study that has the name now; the same one if it is not superseded."""
    return OwnStudy(study.study_name, _backend(study))


def _backend(study: optuna.Study) -> BaseStorage:
    storage: BaseStorage = getattr(study._storage, "_backend", study._storage)
    return storage
