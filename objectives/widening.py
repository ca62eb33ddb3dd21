"""Ranges that hold a trial's own values: named settings may lie outside of what is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution


def widened(
    distributions: Mapping[str, BaseDistribution], params: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """Widen the range of every number that lies outside of it, as Optuna asks of a finished trial.

    Parameters
    ----------
    distributions : mapping
        By parameter name.
    params : mapping
        Values by parameter name.
    """
    return {name: _holding(distribution, params[name]) for name, distribution in distributions.items()}


def _holding(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    if isinstance(distribution, FloatDistribution):
        low, high = min(distribution.low, value), max(distribution.high, value)
        return FloatDistribution(low, high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, IntDistribution):
        low, high = min(distribution.low, value), max(distribution.high, value)
        return IntDistribution(low, high, log=distribution.log, step=distribution.step)
    return distribution
