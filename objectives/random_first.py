"""A sampler that draws the first settings at random and notes of every setting how it was proposed."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.trial import ADAPTIVE, RANDOM, is_drawn_at_random, is_searched

_TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class RandomFirst(BaseSampler):
    """Draw so many settings at random, then let another sampler propose.

    Only settings drawn at random tell what a search gains on strips that did not choose: one that was
    proposed near a good setting owes its place to all strips.

    Parameters
    ----------
    random : BaseSampler
        Draws without looking at scores.
    adaptive : BaseSampler
        Proposes afterwards; may be the same object, which then draws at random itself.
    number : int or None
        Settings of the study that are drawn at random, named ones not counted; None is all of them.
    """

    def __init__(self, random: BaseSampler, adaptive: BaseSampler, number: int | None) -> None:
        self.random, self.adaptive, self.number = random, adaptive, number
        self._all_drawn = False

    def reseed_rng(self) -> None:
        """Give both samplers new random seeds."""
        self.random.reseed_rng()
        self.adaptive.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Decide who proposes this setting, and note it with the trial."""
        if attr.PROPOSAL not in trial.user_attrs and not trial.system_attrs.get("fixed_params"):
            proposal = RANDOM if self._draws_on(study, trial) else ADAPTIVE
            study._storage.set_trial_user_attr(trial._trial_id, attr.PROPOSAL, proposal)
            trial.set_user_attr(attr.PROPOSAL, proposal)
        self._of(trial).before_trial(study, trial)

    def _draws_on(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether more settings are to be drawn at random; trials that were run again count once."""
        if self.number is None or self._all_drawn:
            return not self._all_drawn
        trials = study.get_trials(deepcopy=False, states=_TAKEN)
        searched = sum(is_searched(other) for other in trials if other.number != trial.number)
        self._all_drawn = searched >= self.number
        return not self._all_drawn

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        return self.random if is_drawn_at_random(trial) else self.adaptive

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Name the parameters that are proposed together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the parameters that are proposed together."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Propose one parameter by itself."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        """Tell the sampler that proposed the setting how it ended."""
        self._of(trial).after_trial(study, trial, state, values)
