"""What is wrong with a setting of a file or an option, in a sentence of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Model = TypeVar("Model", bound=BaseModel)
_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class WrongSetting:
    """The first wrong setting.

    Attributes
    ----------
    keys : tuple of str
        Names of its sections and its own, outermost first; empty if the whole is wrong.
    problem : str
        What is wrong, without a full stop.
    """

    keys: tuple[str, ...]
    problem: str

    @property
    def field(self) -> str:
        """The setting's whole name."""
        return ".".join(self.keys)


def setting_error(keys: Iterable[str], problem: str) -> PydanticCustomError:
    """Make the error of a validator that knows which of several settings to name."""
    return PydanticCustomError("setting", "{problem}", {"keys": tuple(keys), "problem": problem})


def strictly(model: type[Model], values: dict[str, Any]) -> Model:
    """Validate (ValidationError) values of a file, in which true is no number and a number no text."""
    # As JSON, because strict Python values would have to be tuples where files have lists.
    return model.model_validate_json(json.dumps(values, default=str), strict=True)


def wrong_setting(
    model: type[BaseModel],
    error: ValidationError,
    whole: str = "the settings",
    *,
    typed: bool = False,
) -> WrongSetting:
    """Put the first error of a validation into words.

    Parameters
    ----------
    model : type
        What was validated.
    whole : str
        What the settings stand in: "study.toml".
    typed : bool
        Whether texts were typed as options, where they have no quotes.
    """
    first = error.errors()[0]
    if first["type"] == "setting":
        return WrongSetting(tuple(first["ctx"]["keys"]), first["ctx"]["problem"])
    found = first["input"] if typed and isinstance(first["input"], str) else _short(first["input"])
    keys, field = _place(model, first["loc"])
    name = ".".join(keys)
    kind = first["type"]
    if kind == "extra_forbidden":
        return WrongSetting(keys, f"{name} is not a field of {whole}; check its spelling")
    if kind == "missing" and len(keys) == len(first["loc"]):
        return WrongSetting(keys, f"{name} is missing; add it")
    if kind == "value_error":
        said = str(first["ctx"]["error"]).rstrip(".")
        return WrongSetting(keys, f"[{name}] {said}" if name else said)
    if field is None:
        expected = f"a section [{name}] of names with values" if name else "names with values"
    else:
        expected = _expected(field.annotation, field.metadata)
    return WrongSetting(keys, f"{name + ' = ' if name else ''}{found} is wrong: expected {expected}")


def _place(model: type[BaseModel], location: Iterable[int | str]) -> tuple[tuple[str, ...], FieldInfo | None]:
    """Names that lead to a setting, and its field; positions in lists and kinds of a union are left out."""
    keys: list[str] = []
    at: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for part in location:
        if at is None or not isinstance(part, str):
            break
        keys.append(part)
        field = at.model_fields.get(part)
        at = None if field is None else _section(field.annotation)
    return tuple(keys), None if at is not None else field


def _section(annotation: Any) -> type[BaseModel] | None:
    """The group of settings that a field holds, if it holds one."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _expected(annotation: Any, metadata: Iterable[Any]) -> str:
    """Describe the values that a field takes."""
    metadata = list(metadata)
    titles = [item.title for item in metadata if isinstance(item, FieldInfo) and item.title]
    if titles and get_origin(annotation) not in (Union, UnionType, Literal):
        return titles[0]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _expected(parts[0], [*parts[1:], *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_expected(part, metadata) for part in parts if part is not NoneType)
    if origin is Literal:
        return " or ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in parts)
    if origin is tuple:
        return _expected_list(parts)
    items = [one for item in metadata for one in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if annotation is str and any(getattr(item, "min_length", None) for item in items):
        return "a text that is not empty"
    return f"{_KINDS.get(annotation, 'another value')} {_bounds(items)}".strip()


def _bounds(items: Iterable[Any]) -> str:
    limits = {
        name: f"{limit:.12g}"
        for item in items
        for name in ("ge", "gt", "le", "lt")
        if (limit := getattr(item, name, None)) is not None
    }
    if {"ge", "le"} <= limits.keys():
        return f"from {limits['ge']} to {limits['le']}"
    words = {"ge": "of {} or more", "gt": "above {}", "le": "of {} at most", "lt": "below {}"}
    return " and ".join(text.format(limits[name]) for name, text in words.items() if name in limits)


def _expected_list(parts: tuple[Any, ...]) -> str:
    if parts[-1] is Ellipsis:
        return f"a list of one or more, each {_expected(parts[0], ())}"
    return f"[low, high], each {_expected(parts[0], ())}"


def _short(value: Any) -> str:
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else None
    shown = shown or (f'"{value}"' if isinstance(value, str) else str(value))
    return shown if len(shown) <= 60 else shown[:57] + "..."
