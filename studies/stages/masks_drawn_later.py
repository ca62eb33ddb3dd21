"""Studies that began without val masks go on with masks drawn later: nothing was scored before."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyUserAttributeModel

from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from sonarseg.survey.layout import Survey
from studies.compatibility import describe, val_tiles
from studies.config import StudyConfig

# What masks change of what a study knows of itself
_OF_MASKS = (attr.METRIC, attr.METRIC_NOTE, attr.SURVEY, attr.UNSCORED, attr.TILES, attr.GROUPS)


def take_masks_in(studies: Mapping[StudyKind, optuna.Study], survey: Survey, config: StudyConfig) -> int:
    """Note in untuned studies the val masks that were drawn since, if nothing else of the survey changed.

    Parameters
    ----------
    studies : mapping
        The studies of a workspace, in a database.
    survey : Survey
        As it is now.
    config : StudyConfig

    Returns
    -------
    int
        Val tiles that have a mask now; 0 if the studies stay as they are.
    """
    untuned = [study for study in studies.values() if attr.UNTUNED in study.user_attrs]
    if not untuned or not (tiles := val_tiles(survey)):
        return 0
    before = untuned[0].user_attrs[attr.SURVEY]["fingerprint"]
    known = {survey.fingerprint_without_masks, survey.fingerprint}
    if before not in known:
        return 0
    for kind, attributes in describe(survey, config).items():
        for name in _OF_MASKS:
            if name in attributes:
                studies[kind].set_user_attr(name, attributes[name])
        # Last: until then the same call begins again.
        _forget(studies[kind], attr.UNTUNED)
    return len(tiles)


def _forget(study: optuna.Study, name: str) -> None:
    """Delete a user attribute, which Optuna itself cannot."""
    storage = getattr(study._storage, "_backend", study._storage)
    assert isinstance(storage, RDBStorage)
    model = StudyUserAttributeModel
    chosen = sqlalchemy.delete(model).where(model.study_id == study._study_id, model.key == name)
    with storage.engine.begin() as connection:
        connection.execute(chosen)
