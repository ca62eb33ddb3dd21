"""Image-level labels from a table that a person keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.texts import control_character
from sonarseg.files.whole import write_atomically
from sonarseg.survey.importers.foreign_names import PicturesNamed, quoted
from sonarseg.survey.importers.mask_labels import refuse_labels, write_labels_csv
from sonarseg.survey.importers.tables.columns import Columns, find_columns
from sonarseg.survey.importers.tables.delimited import read_delimited
from sonarseg.survey.importers.tables.rows import read_lists, read_marks
from sonarseg.survey.importers.tables.sheet import Sheet
from sonarseg.survey.importers.tables.workbook import OLD_START, WORKBOOK_START, read_workbook
from sonarseg.survey.layout import LEAST_AREA
from sonarseg.survey.lists import MOST_CLASSES, find_pictures, read_classes
from sonarseg.survey.tile_names import unlistable

LEAST_PERCENT = 100 * LEAST_AREA


@dataclass(frozen=True)
class TableLabels:
    """What was understood of a table of labels.

    Attributes
    ----------
    classes : tuple of str
        In the order of their ids.
    background : str or None
        The class that every tile may hold: no label speaks of it.
    labels : dict
        Tile to bool (K,), for the tiles of the survey that the table labels.
    missing : tuple of str
        Names in the table that mean no picture of the survey.
    unlabelled : tuple of str
        Pictures of the survey that the table does not label.
    passed_over : tuple of str
        Titles of columns that are neither tile nor class.
    notes : tuple of str
        How the table was read.
    problems : tuple of str
        A sentence for each fault; with one of them nothing can be written.
    new_classes : bool
        Whether the survey has no classes.txt yet.
    """

    classes: tuple[str, ...]
    background: str | None
    labels: dict[str, NDArray[np.bool_]]
    missing: tuple[str, ...]
    unlabelled: tuple[str, ...]
    passed_over: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    new_classes: bool

    def counts(self) -> dict[str, int]:
        """Class to the number of tiles that show it; the background is left out."""
        rows = np.array(list(self.labels.values()), dtype=bool).reshape(len(self.labels), len(self.classes))
        totals = zip(self.classes, rows.sum(axis=0), strict=True)
        return {name: int(count) for name, count in totals if name != self.background}


def read_label_sheet(
    table: Path,
    root: Path,
    *,
    least: float = LEAST_PERCENT,
    background: str | None = None,
    sheet: str | None = None,
) -> TableLabels:
    """Read a table of labels for a survey; nothing is written.

    Parameters
    ----------
    table : Path
        An Excel workbook (.xlsx), or a text table with commas, semicolons or tabs.
    root : Path
        Folder of the survey.
    least : float
        Percentage of a tile from which a class counts as shown, if the table holds percentages.
    background : str or None
        The class that every tile may hold.
    sheet : str or None
        Sheet of the workbook, if several have a column of tiles.

    Raises
    ------
    UserError
        If the table or the survey cannot be read, or no row means a tile of the survey.
    """
    if not 0 <= least <= 100:
        raise UserError(f"--least is {least:g}: it is a percentage of a tile, from 0 to 100.")
    problems: list[str] = []
    pictures = find_pictures(root / "images", problems)
    problems += unlistable(pictures)
    new = not (root / "classes.txt").exists()
    classes = () if new else read_classes(root, problems)
    if not pictures:
        problems.append(f"{root / 'images'} holds no picture: put the tiles there first.")
    if not new and background is not None and background not in classes:
        problems.append(f'"{background}" is not in {root / "classes.txt"}: use one of {", ".join(classes)}.')
    if problems:
        raise UserError(problems[0])
    chosen = _chosen(_sheets(table), table, sheet)
    named = PicturesNamed(pictures)
    columns = find_columns(chosen, classes, background, named)
    body = chosen.rows[(chosen.header or 0) + 1 :]
    if columns.listed is None:
        names = classes or _with(background, tuple(columns.classes.values()))
        read = read_marks(chosen, body, columns, names, named, least)
    else:
        read = read_lists(chosen, body, columns, classes, background, named)
        names = read.classes
    if not read.labels and not read.problems:
        raise UserError(_no_tile_found(chosen, columns, read.missing, next(iter(pictures))))
    return TableLabels(
        classes=names,
        background=background,
        labels={tile: read.labels[tile] for tile in pictures if tile in read.labels},
        missing=tuple(read.missing),
        unlabelled=tuple(tile for tile in pictures if tile not in read.labels),
        passed_over=columns.passed_over,
        notes=(*chosen.notes, read.description),
        problems=tuple(read.problems) + tuple(_faults_of_names(chosen.place, names) if new else ()),
        new_classes=new,
    )


def write_table_labels(root: Path, found: TableLabels) -> Path:
    """Write labels.csv, and classes.txt if the survey has none, each whole or not at all.

    Raises
    ------
    UserError
        If the table has a fault, or labels.csv is there already.
    """
    if found.problems:
        raise UserError(found.problems[0])
    path = refuse_labels(root)
    if found.new_classes:
        write_atomically(root / "classes.txt", "".join(f"{name}\n" for name in found.classes))
    write_labels_csv(path, found.classes, found.labels, found.background)
    return path


def _sheets(table: Path) -> list[Sheet]:
    if not table.is_file():
        raise UserError(f"{table} is not a file: name a table, .xlsx or .csv.")
    content = table.read_bytes()
    if content.startswith(OLD_START):
        raise UserError(f"{table} is an old Excel file (.xls) or has a password: save it as .xlsx or .csv.")
    if content.startswith(WORKBOOK_START):
        return read_workbook(table, content)
    return [read_delimited(table, content)]


def _chosen(sheets: Sequence[Sheet], table: Path, wanted: str | None) -> Sheet:
    """The one sheet with a column of tiles, or the one that was named."""
    if wanted is not None:
        for sheet in sheets:
            if sheet.place.endswith(f"(sheet {wanted})"):
                return sheet
        if len(sheets) > 1:
            raise UserError(f"{table} has no sheet {wanted} with cells: the others are {_names(sheets)}.")
    with_header = [sheet for sheet in sheets if sheet.header is not None]
    if len(with_header) > 1:
        raise UserError(
            f"{table} has several tables of tiles ({_names(with_header)}): name one with --sheet."
        )
    return (with_header or list(sheets))[0]


def _names(sheets: Sequence[Sheet]) -> str:
    return ", ".join(sheet.place.rpartition("(sheet ")[2].rstrip(")") for sheet in sheets)


def _with(background: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Class names with the background, which comes first if no column is called so."""
    return names if background is None or background in names else (background, *names)


def _no_tile_found(sheet: Sheet, columns: Columns, missing: Sequence[str], example: str) -> str:
    title = quoted(sheet.rows[sheet.header or 0].cell(columns.tile))
    if not missing:
        return f'{sheet.place} labels no tile: fill in its column "{title}" and the classes.'
    return (
        f'{sheet.place}, column "{title}": none of its {len(missing)} names ("{quoted(missing[0])}", say) '
        f'is a picture of the survey ("{example}", say): name the tiles like their files.'
    )


def _faults_of_names(place: str, names: Sequence[str]) -> list[str]:
    faults = [
        f'{place}: a class cannot be called "{name}": choose another title.'
        for name in names
        if name == "tile" or control_character(name) is not None
    ]
    if len(names) > MOST_CLASSES:
        faults.append(f"{place} has {len(names)} classes: {MOST_CLASSES} at most fit into a mask.")
    return faults
