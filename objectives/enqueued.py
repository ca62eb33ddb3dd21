"""Which settings a trial accepts: `study.enqueue_trial` takes anything, a trial does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import optuna
from optuna.distributions import CategoricalChoiceType
from optuna.trial import BaseTrial, FixedTrial

from objectives.outcome import SettingRefused
from objectives.records import attributes as attr
from objectives.records.trial import FIXED_PARAMS

Chosen = TypeVar("Chosen")
# User attributes of enqueued trials that may lie outside the ranges searched: settings with a name, and
# those of another study
_ANY_RANGE = (attr.ENQUEUED, attr.ORIGIN)
# No categorical parameter has more choices.
_MOST_CHOICES = 8
_HIGHEST = sys.float_info.max


def enqueued_params(system_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that a trial was enqueued with; empty if it was not."""
    fixed = system_attrs.get(FIXED_PARAMS)
    return dict(fixed) if isinstance(fixed, Mapping) else {}


def suggested(trial: BaseTrial, suggest: Callable[[BaseTrial], Chosen]) -> Chosen:
    """Let a trial choose its setting; refuse one that was enqueued wrongly.

    Parameters that were not enqueued are chosen by the sampler.

    Parameters
    ----------
    trial : BaseTrial
    suggest : callable
        Asks a trial for every parameter of the search space.

    Raises
    ------
    SettingRefused
        If an enqueued parameter is unknown, of the wrong type, out of range, or is not used with the others.
    """
    if not isinstance(trial, optuna.Trial):
        return suggest(trial)
    wished = {**enqueued_params(trial.storage.get_trial_system_attrs(trial._trial_id)), **trial.params}
    if not wished:
        return suggest(trial)
    in_range = not any(name in trial.user_attrs for name in _ANY_RANGE)
    try:
        asked = [_asked(wished, in_range, place, suggest) for place in range(_MOST_CHOICES)]
        unused = [name for name in wished if not all(name in each for each in asked)]
        if unused:
            known = ", ".join(sorted(set().union(*asked)))
            raise SettingRefused(
                f"{unused[0][:60]} was enqueued, but is no parameter of such a trial: expected {known}; a "
                "parameter that not every trial has needs the choice it belongs to."
            )
        return suggest(trial)
    except ValueError as error:
        # Such as a waiting trial that was added with ranges of its own
        raise SettingRefused(f"its enqueued setting cannot be used ({_first_line(error)}).") from error


def _asked(
    wished: Mapping[str, Any], in_range: bool, place: int, suggest: Callable[[BaseTrial], Any]
) -> set[str]:
    """Names of the parameters that are asked for, if open choices fall on the one at `place`."""
    probe = _Probe(wished, in_range, place)
    suggest(probe)
    return probe.asked


class _Probe(FixedTrial):
    """Stands in for a trial and checks what was enqueued for it."""

    def __init__(self, wished: Mapping[str, Any], in_range: bool, place: int) -> None:
        super().__init__({})
        self.wished = wished
        self.in_range = in_range
        self.place = place
        self.asked: set[str] = set()

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._figure(name, low, high, whole=False))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._figure(name, low, high, whole=True))

    def suggest_categorical(  # type: ignore[override]
        self, name: str, choices: Sequence[CategoricalChoiceType]
    ) -> CategoricalChoiceType:
        self.asked.add(name)
        if name not in self.wished:
            return choices[self.place % len(choices)]
        value = self.wished[name]
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            expected = ", ".join(map(str, choices))
            raise SettingRefused(f"{_written(name, value)} was enqueued: expected one of {expected}.")
        return self.wished[name]  # type: ignore[no-any-return]

    def _figure(self, name: str, low: float, high: float, *, whole: bool) -> float:
        self.asked.add(name)
        value = self.wished.get(name, low)
        expected = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"
        # NaN, infinite values and whole numbers that no float can hold fail the comparison.
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _HIGHEST
        if not number or (whole and value != int(value)) or (self.in_range and not low <= value <= high):
            raise SettingRefused(f"{_written(name, value)} was enqueued: expected {expected}.")
        return float(value)


def _written(name: str, value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return f"{name} = {text[:60]}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(lines[:3]).rstrip(".") or type(error).__name__
