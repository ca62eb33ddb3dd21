"""Rows of a table of labels become labels of tiles, or sentences on what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.importers.foreign_names import ClassesNamed, PicturesNamed, quoted
from sonarseg.survey.importers.tables.columns import Columns, split_list
from sonarseg.survey.importers.tables.sheet import Row, Sheet
from sonarseg.survey.importers.tables.values import reading_of


@dataclass
class ReadRows:
    """Labels of a table, bool (K,) per tile, and what was found beside them."""

    description: str
    classes: tuple[str, ...]
    labels: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_marks(
    sheet: Sheet,
    body: Sequence[Row],
    columns: Columns,
    classes: tuple[str, ...],
    named: PicturesNamed,
    least: float,
) -> ReadRows:
    """Read one column per class; rows without any entry label nothing.

    Parameters
    ----------
    body : sequence of Row
        Rows below the header.
    classes : tuple of str
        In the order of their ids.
    least : float
        Percentage of a tile from which a class counts as shown.

    Raises
    ------
    UserError
        If the numbers are neither marks nor percentages.
    """
    reading = reading_of((row.cell(column) for row in body for column in columns.classes), least)
    if reading is None:
        raise UserError(
            f"{sheet.place}: the numbers of the classes are neither 0 and 1 nor percentages (no tile has 20 "
            "or more of a class): write 1 or 0, x or nothing, or percentages."
        )
    read = ReadRows(f"one column per class, {reading.description}", classes)
    titles = sheet.rows[sheet.header or 0]
    first: dict[str, int] = {}
    for row in body:
        if not any(row.cell(column) for column in columns.classes):
            continue
        tile = _tile(sheet, row, columns, named, read)
        if tile is None:
            continue
        if first.setdefault(tile, row.number) != row.number:
            read.problems.append(
                f"{sheet.place} row {row.number}: the tile {tile} has row {first[tile]} already: keep one."
            )
            continue
        shown = np.zeros(len(classes), dtype=bool)
        for column, name in columns.classes.items():
            value = reading.shown(row.cell(column))
            if value is None:
                read.problems.append(
                    f'{sheet.place} row {row.number}, column "{quoted(titles.cell(column))}": '
                    f'found "{quoted(row.cell(column))}", expected {reading.expected}.'
                )
            else:
                shown[classes.index(name)] = value
        read.labels[tile] = shown
    return read


def read_lists(
    sheet: Sheet,
    body: Sequence[Row],
    columns: Columns,
    classes: tuple[str, ...],
    background: str | None,
    named: PicturesNamed,
) -> ReadRows:
    """Read one column that lists classes; a tile may have several rows if each of them names one class.

    Parameters
    ----------
    body : sequence of Row
        Rows below the header.
    classes : tuple of str
        In the order of their ids; if empty, they are those of the table, in the order of their names.
    background : str or None
        The class that labels do not speak of.
    """
    assert columns.listed is not None, "find_columns found a list"
    known = ClassesNamed(classes)
    lists: dict[str, list[tuple[Row, list[str]]]] = {}
    read = ReadRows("one column that lists the classes", ())
    for row in body:
        names = split_list(row.cell(columns.listed), known)
        tile = _tile(sheet, row, columns, named, read) if names else None
        if tile is not None:
            lists.setdefault(tile, []).append((row, names))
    read.classes = classes or _classes_of(lists, background)
    known = ClassesNamed(read.classes)
    title = quoted(sheet.rows[sheet.header or 0].cell(columns.listed))
    for tile, rows in lists.items():
        if len(rows) > 1 and any(len(names) > 1 for _, names in rows):
            read.problems.append(
                f"{sheet.place} row {rows[1][0].number}: the tile {tile} has row {rows[0][0].number} "
                "already: keep one."
            )
        shown = np.zeros(len(read.classes), dtype=bool)
        for row, names in rows:
            for name in names:
                found = known.find(name)
                if found is None:
                    read.problems.append(_unknown(sheet, row, title, name, read.classes))
                else:
                    shown[read.classes.index(found)] = found != background
        read.labels[tile] = shown
    return read


def _tile(sheet: Sheet, row: Row, columns: Columns, named: PicturesNamed, read: ReadRows) -> str | None:
    """Tile of a row that labels something."""
    name = row.cell(columns.tile)
    tile = named.find(name) if name else None
    titles = sheet.rows[sheet.header or 0]
    if any(row.cells[len(titles.cells) :]):
        read.problems.append(
            f"{sheet.place} row {row.number} has {len(row.cells)} cells, the header has {len(titles.cells)}: "
            "put a cell that holds the separator into quotation marks."
        )
        return None
    if not name:
        read.problems.append(
            f'{sheet.place} row {row.number}, column "{quoted(titles.cell(columns.tile))}": found nothing, '
            "expected the name of a tile."
        )
    elif tile is None:
        read.missing.append(name)
    return tile


def _classes_of(lists: dict[str, list[tuple[Row, list[str]]]], background: str | None) -> tuple[str, ...]:
    """Classes that lists name, each as it is spelt first, in the order of their names."""
    spelt: dict[str, str] = {} if background is None else {background.casefold(): background}
    for rows in lists.values():
        for _, names in rows:
            for name in names:
                spelt.setdefault(name.casefold(), name)
    return tuple(sorted(spelt.values(), key=str.casefold))


def _unknown(sheet: Sheet, row: Row, title: str, name: str, classes: Sequence[str]) -> str:
    by_case = {known.casefold(): known for known in classes}
    close = difflib.get_close_matches(name.casefold(), by_case, n=1)
    hint = f"{by_case[close[0]]}, perhaps" if close else f"one of {', '.join(classes)}"
    return (
        f'{sheet.place} row {row.number}, column "{title}": found "{quoted(name)}", '
        f"expected {hint} (see classes.txt)."
    )
