"""Which trials of a study this program did not make: anybody may add some with Optuna itself.

The one rule for both sides: `studies` leaves these trials out of ranking, races and budget, `reports` out
of every figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from sonarseg.metrics.confusion import unpack_confusions

# User attributes that every trial of this program has some of once it has begun or ended
_MARKS = (
    attr.WORKER,
    attr.REASON,
    attr.INTERRUPTED,
    attr.DEATHS,
    attr.DERIVED,
    attr.ORIGIN,
    attr.RUN,
    attr.CURVE,
)
_CRF_PARAMETERS = {
    "sigma_alpha",
    "sigma_beta",
    "sigma_gamma",
    "w_bilateral",
    "w_spatial",
    "iterations",
    "guide",
    "unary",
}
_LOSS_PARAMETERS: dict[str, set[str]] = {
    "cross-entropy": set(),
    "focal": {"gamma", "alpha"},
    "lovasz_softmax": set(),
}
_MAP_PARAMETERS: dict[str, set[str]] = {
    "binary": {"binary_form", "warmup_rate", "warmup_epochs"},
    "candidate": {"form", "presence_weight", "top_share", "temperature", "warmup_rate", "warmup_epochs"},
}

# Attributes of a complete trial that must be of the right kind, if it has them
_CHECKED = (attr.CURVE, attr.DERIVED, attr.SCORES, attr.REASON, attr.RETRY_OF, attr.SECONDS, attr.SEED)


def is_foreign(trial: FrozenTrial, attrs: Mapping[str, Any], objectives: int = 1) -> bool:
    """Whether a trial was added by another program, or holds no result that could be compared.

    A waiting trial never is: it is a wish, which is looked at when its turn comes.

    Parameters
    ----------
    trial : FrozenTrial
    attrs : mapping
        User attributes of its study: `kind`, and `tiles` and `survey` once they are noted.
    objectives : int
        Values that a complete trial of the study has.
    """
    marked = any(name in trial.user_attrs for name in _MARKS)
    if trial.state is TrialState.WAITING:
        return False
    if trial.state is TrialState.RUNNING:
        # One of ours says who runs it before it chooses anything.
        return not marked and bool(trial.params)
    if trial.state is not TrialState.COMPLETE:
        return not marked
    if not _has_kinds(trial.user_attrs):
        return True
    values = trial.values or []
    if len(values) != objectives or not all(math.isfinite(value) for value in values):
        return True
    if not attrs.get(attr.TILES):
        return not marked
    return not (_has_parameters(trial, attrs) and _has_result(trial, attrs))


def _has_kinds(attrs: Mapping[str, Any]) -> bool:
    """Whether no attribute was overwritten with something of another kind."""
    known = ((attrs[name], attr.TRIAL[name].kinds) for name in _CHECKED if attrs.get(name) is not None)
    curve = attrs.get(attr.CURVE) or []
    return all(isinstance(value, kinds) for value, kinds in known) and all(
        value is None or isinstance(value, int | float) for value in curve
    )


def _has_parameters(trial: FrozenTrial, attrs: Mapping[str, Any]) -> bool:
    params = trial.params
    if any(isinstance(value, float) and not math.isfinite(value) for value in params.values()):
        return False
    if attrs.get(attr.KIND) == "crf":
        return params.keys() >= _CRF_PARAMETERS
    parameters = _MAP_PARAMETERS if attrs.get(attr.KIND) == "cam" else _LOSS_PARAMETERS
    needed = parameters.get(str(params.get("loss")))
    noted = all(isinstance(trial.user_attrs.get(name), str) for name in (attr.SETTING, attr.RUN))
    return needed is not None and params.keys() >= needed and noted


def _has_result(trial: FrozenTrial, attrs: Mapping[str, Any]) -> bool:
    """Whether the confusions are those of the study's tiles and classes."""
    packed, survey = trial.user_attrs.get(attr.CONFUSIONS), attrs.get(attr.SURVEY)
    if not isinstance(packed, str):
        return False
    try:
        shape = unpack_confusions(packed).shape
    except ValueError:
        return False
    classes = survey.get("classes") if isinstance(survey, dict) else None
    return shape[0] == len(attrs[attr.TILES]) and (not classes or shape[1] == len(classes))
