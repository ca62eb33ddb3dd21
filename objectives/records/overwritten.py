"""Attributes that say what a study is: anybody may overwrite one with Optuna itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import Study

from objectives.records import attributes as attr
from sonarseg.errors import UserError
from sonarseg.metrics.iou import METRICS

_MAPPINGS = (attr.CAM, attr.CONFIG, attr.SURVEY, attr.VERSIONS, attr.CONFIRM)
_TEXTS = (
    attr.CREATED,
    attr.DEVICE,
    attr.ENGINE,
    attr.ENGINE_NOTE,
    attr.METRIC,
    attr.METRIC_NOTE,
    attr.UNTUNED,
)
_LISTS_OF_TEXTS = (attr.TILES, attr.UNSCORED)
_SHOWN = 60


def refuse_overwritten(place: object, studies: Mapping[Any, Study]) -> None:
    """Refuse a study one of whose attributes is of another kind than this program writes.

    Attributes that are missing are no fault: earlier versions did not write all of them.

    Parameters
    ----------
    place : object
        The database, as the sentence names it.
    studies : mapping
        Kind to the study, as far as they are there.

    Raises
    ------
    UserError
    """
    for kind, study in studies.items():
        for name, value in study.user_attrs.items():
            expected = _expected(name, value)
            if expected is not None:
                raise UserError(
                    f"{place}: the attribute {name} of the {kind} study is {repr(value)[:_SHOWN]}, expected "
                    f"{expected}: another program has overwritten it; restore the database from a copy."
                )


def _expected(name: str, value: object) -> str | None:
    """What an attribute should be; None if it is that, or not known."""
    if name in _MAPPINGS and not isinstance(value, dict):
        return "names with values"
    if name == attr.SURVEY and isinstance(value, dict) and not _are_texts(value.get("classes", [])):
        return "a list of class names in it"
    if name == attr.VERSIONS and isinstance(value, dict) and not _are_texts(list(value.values())):
        return "a version for each package"
    if name in _TEXTS and not isinstance(value, str):
        return "a text"
    if name == attr.METRIC and value not in METRICS:
        return f"one of {', '.join(METRICS)}"
    if name in _LISTS_OF_TEXTS and not _are_texts(value):
        return "a list of names"
    if name == attr.GROUPS and not isinstance(value, list):
        return "a list of strips"
    if name == attr.TEST_OPENINGS and not (
        isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
    ):
        return "a list of times with what was scored"
    if name in (attr.DRAWS, attr.SEED) and (isinstance(value, bool) or not isinstance(value, int)):
        return "a whole number"
    return None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
