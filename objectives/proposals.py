"""How a trial's setting was proposed: without looking at scores, or near those that did well."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from objectives.records import attributes as attr

RANDOM, ADAPTIVE = "random", "adaptive"
# User attributes of trials that were added whole: read off another trial, run elsewhere before
_NOT_SEARCHED = (attr.DERIVED, attr.ORIGIN)


def is_searched(trial: FrozenTrial) -> bool:
    """Whether the search proposed the trial's setting, noted or, in older studies, not noted."""
    if attr.DERIVED in trial.user_attrs:
        return False
    if attr.PROPOSAL in trial.user_attrs:
        return True
    fixed = bool(trial.system_attrs.get("fixed_params"))
    return not fixed and not any(name in trial.user_attrs for name in _NOT_SEARCHED)
