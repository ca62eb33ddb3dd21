"""The samplers of a study, by name; all of them draw the first settings at random."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from objectives.enqueued import enqueued_params
from objectives.records import attributes as attr
from objectives.records.trial import ADAPTIVE, FIXED_PARAMS, RANDOM, is_drawn_at_random, is_searched
from objectives.space import SamplerName

# NSGA-II draws its first population of 50 at random; named and derived settings are part of it.
_NSGA_RANDOM = 30
_TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def make_sampler(name: SamplerName, *, seed: int, moved_on: int, budget: int) -> BaseSampler:
    """Make the sampler of one worker.

    "auto" is TPE over the joint, conditional space: both search spaces are conditional, which CMA-ES and
    the Gaussian process see only in part. A quarter of the budget is drawn at random behind the named
    settings: they alone never show choices that no published work has made (a filtered guide image, say),
    and only settings drawn at random tell what the search gains on strips that did not choose.

    Parameters
    ----------
    name : str
        "grid" has no sampler of its own: its points are enqueued, see `enqueue_grid_point`.
    seed : int
        Seed of the study.
    moved_on : int
        What the seed is moved on by: a resumed study, or a second worker, must not draw the same
        numbers again.
    budget : int
        Trials of the whole study.
    """
    drawn = (seed * 1_000_003 + moved_on) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "auto" | "tpe":
                adaptive: BaseSampler = TPESampler(
                    multivariate=True, group=True, constant_liar=True, n_startup_trials=1, seed=drawn
                )
            case "gp":
                adaptive = GPSampler(
                    n_startup_trials=1,
                    seed=drawn,
                    deterministic_objective=False,
                    warn_independent_sampling=False,
                )
            case "cmaes":
                adaptive = CmaEsSampler(n_startup_trials=1, seed=drawn, warn_independent_sampling=False)
            case "nsga2":
                genetic = NSGAIISampler(seed=drawn)
                return RandomFirst(genetic, genetic, _NSGA_RANDOM)
            case "qmc":
                # One sequence for all workers: a seed of its own for each would lose what makes it even.
                # What is outside it would be the same in each of them, though, unless it had one.
                even = QMCSampler(
                    seed=seed,
                    scramble=True,
                    independent_sampler=RandomSampler(seed=drawn),
                    warn_independent_sampling=False,
                    warn_asynchronous_seeding=False,
                )
                return RandomFirst(even, even, None)
            case _:
                random_draws = RandomSampler(seed=drawn)
                return RandomFirst(random_draws, random_draws, None)
    return RandomFirst(RandomSampler(seed=drawn), adaptive, max(1, budget // 4))


def draws_so_far(study: optuna.Study) -> int:
    """Count the workers that have drawn for this study, this one included.

    Call it under the ask lock.
    """
    draws = int(study.user_attrs.get(attr.DRAWS, 0)) + 1
    study.set_user_attr(attr.DRAWS, draws)
    return draws - 1


def enqueue_grid_point(study: optuna.Study, points: Sequence[dict[str, Any]], seed: int) -> bool:
    """Enqueue the next point of a grid that is not in the study, in an order that follows from the seed.

    Returns
    -------
    bool
        False where every point was tried and nothing is waiting.
    """
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):
        return True
    settings = [{**enqueued_params(trial.system_attrs), **trial.params} for trial in trials]
    # A person may have enqueued a list, which is no point of a grid.
    tried = {frozenset(each.items()) for each in settings if all(map(_is_plain, each.values()))}
    order = random.Random(seed).sample(range(len(points)), len(points))
    free = next((points[index] for index in order if frozenset(points[index].items()) not in tried), None)
    if free is None:
        return False
    # The order is drawn without looking at scores.
    study.enqueue_trial(free, user_attrs={attr.PROPOSAL: RANDOM})
    return True


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


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
        if attr.PROPOSAL not in trial.user_attrs and not trial.system_attrs.get(FIXED_PARAMS):
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
