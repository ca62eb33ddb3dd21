"""Fields of JSON files, each with a sentence if it is not as its format says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from sonarseg.errors import UserError
from sonarseg.files.texts import read_text

T = TypeVar("T")
_WORDS = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}


def read_any_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    UserError
        If it is missing, or no JSON.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file: name what the drawing program exported.")
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): export it again.") from error


def field(container: Any, key: str, kind: type[T], place: str) -> T:
    """Value of a key; whole numbers count as numbers.

    Raises
    ------
    UserError
        If there is none, or it is of another kind.
    """
    value = container.get(key) if isinstance(container, dict) else None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return kind(value)  # type: ignore[call-arg]
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "nothing" if value is None else json.dumps(value)[:40]
        raise UserError(f'{place}: its "{key}" is {found}, expected {_WORDS[kind]}.')
    return value
