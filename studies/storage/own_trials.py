"""A study as this program uses it: the trials that others have added to it are left out."""

from __future__ import annotations

from collections.abc import Container

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.foreign import is_foreign


class OwnStudy(optuna.Study):
    """A study that shows its own trials only, to the loop, to samplers and to pruners alike.

    Numbers of trials are no places in its lists: look a trial up by its number.

    Parameters
    ----------
    study_name : str
    storage : BaseStorage

    Raises
    ------
    KeyError
        Where the storage holds no such study.
    """

    def __init__(self, study_name: str, storage: BaseStorage) -> None:
        super().__init__(study_name=study_name, storage=storage)
        # Ended trials never change, and to judge one its confusions are unpacked.
        self._judged: dict[int, bool] = {}

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return self._own(super()._get_trials(deepcopy, states, use_cache))

    def _own(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        if all(trial._trial_id in self._judged for trial in trials):
            return [trial for trial in trials if not self._judged[trial._trial_id]]
        attrs, objectives = self.user_attrs, len(self.directions)
        own = []
        for trial in trials:
            foreign = self._judged.get(trial._trial_id)
            if foreign is None:
                foreign = is_foreign(trial, attrs, objectives)
                # On a server what a study is may be noted a moment after it was made.
                if trial.state.is_finished() and attr.KIND in attrs:
                    self._judged[trial._trial_id] = foreign
            if not foreign:
                own.append(trial)
        return own
