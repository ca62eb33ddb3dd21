"""Settings in TOML and JSON files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.files.texts import control_character, read_text


def read_settings(path: Path) -> tuple[dict[str, Any], str]:
    """Read the names and values of a .toml or .json file.

    Parameters
    ----------
    path : Path
        A name that ends with .json means JSON, any other one TOML.

    Returns
    -------
    dict
        Values by name.
    str
        The text of the file, in which a line can be looked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UserError
        If it is not text, not of its format, names a value twice, holds no names, or a control character.
    """
    text = read_text(path)
    kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        values = json.loads(text, object_pairs_hook=_no_name_twice) if kind == "JSON" else tomllib.loads(text)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read: it is not valid {kind} ({str(error).rstrip('.')})."
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no names with values: write each setting as name and value.")
    for name, value in _texts(values):
        # A tab is harmless, and part of some names of folders.
        if (control := control_character(value.replace("\t", " "))) is not None:
            raise UserError(f"{path}: {name} holds the control character {control}: take it out.")
    return values, text


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text among the values, with its whole name."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(part, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, name)


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f'"{name}" is named twice: keep one')
        values[name] = value
    return values
