"""The samplers that a study can be told to use, by name."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
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
from optuna.trial import TrialState

from objectives.enqueued import enqueued_params
from objectives.random_first import RandomFirst
from objectives.records import attributes as attr
from objectives.records.trial import RANDOM
from objectives.space import SamplerName

# NSGA-II draws its first population of 50 at random; named and derived settings are part of it.
_NSGA_RANDOM = 30


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

    Call it in this worker's turn.
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
