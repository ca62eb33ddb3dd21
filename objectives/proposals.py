"""How a trial's setting was proposed: without looking at scores, or near those that did well."""

from __future__ import annotations

from optuna.trial import FrozenTrial

# User attribute of a trial, written when it is asked for
PROPOSAL = "proposal"
RANDOM, ADAPTIVE = "random", "adaptive"
# User attributes of trials that were added whole: read off another trial, run elsewhere before
_NOT_SEARCHED = ("derived_from", "warm_start")


def is_searched(trial: FrozenTrial) -> bool:
    """Whether the search proposed the trial's setting, noted or, in older studies, not noted."""
    if "derived_from" in trial.user_attrs:
        return False
    if PROPOSAL in trial.user_attrs:
        return True
    fixed = bool(trial.system_attrs.get("fixed_params"))
    return not fixed and not any(name in trial.user_attrs for name in _NOT_SEARCHED)
