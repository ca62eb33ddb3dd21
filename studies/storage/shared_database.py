"""Optuna's storage in a database that others write to as well: rows may be missing, or be theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialParamModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial
from sqlalchemy import func

from objectives.records import attributes as attr

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class StudyDatabase(RDBStorage):
    """Storage of studies from which trials may be removed and to which others may add some."""

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        # Optuna counts the trials before it, so after one was removed two would bear one number.
        others = session.query(func.max(TrialModel.number)).filter(
            TrialModel.study_id == study_id, TrialModel.trial_id != trial.trial_id
        )
        last = others.scalar()
        trial.number = 0 if last is None else last + 1
        return trial

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        if previous_distribution is None:
            # Of another program's trial it may be of any kind; Optuna compares with the first one it finds.
            previous_distribution = _own_distribution(session, trial_id, param_name)
            if previous_distribution is None and _is_own(session, trial_id):
                previous_distribution = distribution
        super()._set_trial_param_without_commit(
            session, trial_id, param_name, param_value_internal, distribution, previous_distribution
        )


def _own_distribution(session: Session, trial_id: int, name: str) -> BaseDistribution | None:
    """Distribution that a parameter has in the trials of the same study that a worker of ours ran."""
    study = session.query(TrialModel.study_id).filter(TrialModel.trial_id == trial_id).scalar_subquery()
    found = (
        session.query(TrialParamModel.distribution_json)
        .join(TrialModel, TrialModel.trial_id == TrialParamModel.trial_id)
        .join(TrialUserAttributeModel, TrialUserAttributeModel.trial_id == TrialModel.trial_id)
        .filter(TrialModel.study_id == study, TrialParamModel.param_name == name)
        .filter(TrialUserAttributeModel.key == attr.WORKER)
        .first()
    )
    return None if found is None else json_to_distribution(found[0])


def _is_own(session: Session, trial_id: int) -> bool:
    worker = session.query(TrialUserAttributeModel.trial_user_attribute_id).filter(
        TrialUserAttributeModel.trial_id == trial_id, TrialUserAttributeModel.key == attr.WORKER
    )
    return worker.first() is not None
