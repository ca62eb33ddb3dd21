"""Strips that the names of tiles tell: `line4-0012` and `line4-0013` count along one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import write_csv
from sonarseg.survey.tile_names import listed_name

FEWEST_STRIPS = 6
FEWEST_TILES = 2
_COUNTED = re.compile(r"(.*[^\W_].*?)[-_. ]+\d+")


def line_of(tile: str) -> str | None:
    """Line along which a tile's name counts: what stands before a separator and the last digits."""
    match = _COUNTED.fullmatch(tile)
    return None if match is None else match[1]


def strips_from_names(tiles: Iterable[str]) -> dict[str, str]:
    """Propose strips from names that count along a line.

    Returns
    -------
    dict
        Tile to strip. Empty unless at least `FEWEST_STRIPS` lines have `FEWEST_TILES` tiles or more:
        with fewer, the names may count through the survey, or mean something else.
    """
    found = {tile: line for tile in tiles if (line := line_of(tile)) is not None}
    sizes = Counter(found.values())
    if sum(size >= FEWEST_TILES for size in sizes.values()) < FEWEST_STRIPS:
        return {}
    return found


def write_groups(root: Path, groups: Mapping[str, str]) -> Path:
    """Write `root/groups.csv`, whole or not at all.

    Raises
    ------
    UserError
        If there is one already.
    """
    path = root / "groups.csv"
    if path.exists():
        raise UserError(f"{path} exists and is not overwritten: move it away first.")
    rows = [(listed_name(tile), strip) for tile, strip in sorted(groups.items())]
    return write_csv(path, [("tile", "strip"), *rows])
