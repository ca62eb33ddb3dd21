"""Tiles as files and lists name them."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from sonarseg.files.texts import control_character
from sonarseg.survey.formats.found import SUFFIXES


def tile_name(text: str) -> str:
    """Tile that a line or a file name means: without picture suffix, accents composed."""
    name = unicodedata.normalize("NFC", text.strip())
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    # Every list of a survey names the tile: all of them share one string.
    return sys.intern(name[: -len(suffix)] if suffix in SUFFIXES else name)


def listed_name(tile: str) -> str:
    """Text that lists read back as this tile: with a suffix, if its name ends in a suffix or blank itself."""
    return tile if tile_name(tile) == tile else f"{tile}{SUFFIXES[0]}"


def unlistable(pictures: Mapping[str, Path]) -> list[str]:
    """Sentences on the pictures whose tile a list cannot name, or only as it names another tile."""
    problems = []
    for tile, path in pictures.items():
        fault = _fault_of_name(tile)
        other = pictures.get(tile_name(tile), path)
        if fault is None and other is not path:
            fault = f"reads as that of {other.name}"
        if fault is not None:
            shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
            problems.append(f"{shown}: the name of this tile {fault} in lists: rename the file.")
    return problems


def _fault_of_name(tile: str) -> str | None:
    if not tile:
        return "is empty"
    if re.search(r"[\r\n]", tile):
        return "breaks the line"
    if control_character(tile.replace("\t", "")) is not None:
        return "holds a control character, which is not seen"
    if tile.startswith("\ufeff"):
        return "loses the byte order mark at its beginning"
    if re.search(r"[\ud800-\udfff]", tile):
        return "cannot be written as UTF-8"
    return None
