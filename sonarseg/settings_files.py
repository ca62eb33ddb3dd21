"""Settings in TOML and JSON files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.text_files import read_text


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
        If it is not text, not of its format, names a value twice or holds no names.
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
    return values, text


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f'"{name}" is named twice: keep one')
        values[name] = value
    return values
