"""A table of cells, whatever file it came from, and where its header is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sonarseg.survey.importers.foreign_names import plain

# Titles of the column that names the tiles, by preference, as `plain` writes them
TILE_TITLES = (
    *("tile", "tilename", "tileid", "filename", "file", "imagefile", "imagename", "image"),
    *("picturename", "picture", "imageid", "name", "id"),
)
# A title of the whole table and remarks may stand above the header.
_MOST_ROWS_ABOVE = 20


@dataclass(frozen=True)
class Row:
    """A row with its number in the file, from 1; its cells are trimmed text."""

    number: int
    cells: tuple[str, ...]

    def cell(self, column: int) -> str:
        """Text of a cell; "" beyond the last one."""
        return self.cells[column] if column < len(self.cells) else ""


@dataclass(frozen=True)
class Sheet:
    """Rows that hold something, in their order.

    Attributes
    ----------
    place : str
        File, and sheet if the file has several, as a sentence names it.
    notes : tuple of str
        How the file was read, if that is not a matter of course.
    """

    place: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> int | None:
        """Position in `rows` of the first row with a title of a tile column; None if there is none."""
        for place, row in enumerate(self.rows[:_MOST_ROWS_ABOVE]):
            if tile_columns(row.cells):
                return place
        return None


def tile_columns(titles: Sequence[str]) -> list[int]:
    """Columns whose titles stand for tile names, by preference."""
    plainly = [plain(title) for title in titles]
    found = [column for column, title in enumerate(plainly) if title in TILE_TITLES]
    return sorted(found, key=lambda column: TILE_TITLES.index(plainly[column]))
