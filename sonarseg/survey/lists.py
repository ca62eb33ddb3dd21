"""The text files of a survey: classes.txt, splits, labels.csv, groups.csv.

Each reader appends what is wrong to a list of sentences and goes on, so that a check can show
everything at once and opening a survey can stop at the first.
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import as_named
from sonarseg.files.texts import control_character, read_text
from sonarseg.survey.formats.found import SUFFIXES
from sonarseg.survey.splits.draw import SPLITS
from sonarseg.survey.tile_names import tile_name

MOST_CLASSES = 255


@dataclass(frozen=True)
class Labels:
    """What labels.csv says.

    Attributes
    ----------
    shown : dict
        Tile to bool (K,), False for the background.
    lines : dict
        Tile to its line in the file, counted from 1.
    unlabelled : tuple of str
        Classes without a column.
    blank : set of str
        Tiles that are not labelled yet: the cells of all classes are empty in their row.
    """

    shown: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    blank: set[str] = field(default_factory=set)


def find_pictures(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Tile to picture file, in the order of names; hidden files are passed over."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        if os.path.lexists(folder):
            problems.append(f"{folder} is no folder: put the pictures into a folder of this name.")
        return found
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.strip().lower() not in SUFFIXES:
            continue
        other = found.setdefault(tile_name(path.name), path)
        if other is not path:
            problems.append(f"{path} and {other.name} are two pictures of one tile: keep one.")
    return found


def read_lines(path: Path, problems: list[str]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 text file, blank ones left out; none where the file is missing."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        if path.is_symlink():
            problems.append(f"{path} is a link to a file that is missing: copy the file itself.")
        return
    except UserError as error:
        problems.append(str(error))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = unicodedata.normalize("NFC", line.strip())
        if stripped:
            yield number, stripped


def read_table(path: Path, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows of a CSV file with trimmed cells; rows without any content are left out.

    An apostrophe that keeps a spreadsheet from running a cell is no part of it.
    """
    for number, line in read_lines(path, problems):
        try:
            cells = [as_named(cell.strip()) for cell in next(csv.reader([line]))]
        except csv.Error as error:
            problems.append(f"{path} line {number} cannot be read as CSV ({error}): correct it.")
            continue
        if any(cells):
            yield number, cells


def read_classes(root: Path, problems: list[str]) -> tuple[str, ...]:
    """Class names in the order of their ids."""
    path = root / "classes.txt"
    names: list[str] = []
    for number, name in read_lines(path, problems):
        if name in names:
            problems.append(f'{path} line {number} names the class "{name}" again: keep one line for it.')
        elif (control := control_character(name)) is not None:
            problems.append(f"{path} line {number} holds the control character {control}: write a name only.")
        elif name == "tile":
            problems.append(f'{path} line {number}: a class cannot be called "tile": choose another name.')
        else:
            names.append(name)
    if not names:
        problems.append(f"{path} is missing or empty: write one class name a line.")
    if len(names) > MOST_CLASSES:
        problems.append(f"{path} names {len(names)} classes: {MOST_CLASSES} at most fit into a mask.")
    return tuple(names)


def read_splits(root: Path, problems: list[str]) -> dict[str, tuple[str, ...]] | None:
    """Tiles of each split; None where there is no splits file at all. A missing val or test is empty."""
    paths = {split: root / "splits" / f"{split}.txt" for split in SPLITS}
    if (root / "splits").is_file():
        problems.append(f"{root / 'splits'} is no folder: put the lists into a folder of this name.")
    if not any(os.path.lexists(path) for path in paths.values()):
        return None
    if not os.path.lexists(paths["train"]):
        problems.append(f"{paths['train']} is missing: list the train tiles in it, one a line.")
    home: dict[str, str] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split, path in paths.items():
        tiles: list[str] = []
        for number, line in read_lines(path, problems):
            tile = tile_name(line)
            if tile in home:
                where = "this split" if home[tile] == split else f"{home[tile]}.txt"
                problems.append(f"{path} line {number}: the tile {tile} is in {where} already: keep one.")
                continue
            home[tile] = split
            tiles.append(tile)
        splits[split] = tuple(tiles)
    return splits


def read_label_table(
    path: Path, classes: tuple[str, ...], background: str | None, problems: list[str]
) -> Labels:
    """Image-level labels of every row of a table that is right; the background's column is passed over."""
    before = len(problems)
    rows = read_table(path, problems)
    header_line, header = next(rows, (1, []))
    if not header:
        if path.is_file() and len(problems) == before:
            problems.append(f"{path} is empty: write the columns tile and one for each class.")
        return Labels()
    columns = _label_columns(path, header_line, header, classes, background, problems)
    if "tile" not in columns:
        return Labels()
    unlabelled = tuple(name for name in classes if name not in columns)
    labels = Labels(unlabelled=unlabelled)
    for number, row in rows:
        row += [""] * (len(header) - len(row))
        tile = tile_name(row[columns["tile"]])
        if not tile:
            problems.append(f"{path} line {number} names no tile: fill in its column tile.")
        elif tile in labels.lines:
            problems.append(
                f"{path} line {number}: the tile {tile} has a row in line {labels.lines[tile]}: keep one."
            )
        else:
            labels.lines[tile] = number
            if any(row[len(header) :]):
                problems.append(f"{path} line {number} has {len(row)} cells, the first has {len(header)}.")
                continue
            cells = [row[columns[name]] for name in classes if name in columns and name != background]
            if cells and not any(cells):
                labels.blank.add(tile)
                continue
            shown = _read_row(path, number, row, columns, classes, background, problems)
            if shown is not None:
                labels.shown[tile] = shown
    return labels


def _label_columns(
    path: Path,
    line: int,
    header: list[str],
    classes: tuple[str, ...],
    background: str | None,
    problems: list[str],
) -> Mapping[str, int]:
    """Position of the column tile and of each class."""
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        problems.append(f'{path} line {line} is "{header[0]}": separate the columns by commas.')
        return {}
    columns: dict[str, int] = {}
    for index, name in enumerate(header):
        if name in columns:
            problems.append(f'{path} line {line} has two columns "{name}": keep one.')
        elif name == "tile" or name in classes:
            columns[name] = index
        elif name:
            problems.append(
                f'{path} line {line}: the column "{name}" is no class of classes.txt: '
                "take it out or add the class."
            )
    if "tile" not in columns:
        problems.append(f'{path} line {line} has no column "tile": name the column of the tile names so.')
    missing = [name for name in classes if name not in columns and name != background]
    # One class without a column is the background: no image-level label speaks of it.
    if len(missing) > 1 or (missing and background is not None):
        problems.append(
            f'{path} line {line} has no column "{missing[0]}": expected tile and one column for each class.'
        )
    return columns


def _read_row(
    path: Path,
    number: int,
    row: list[str],
    columns: Mapping[str, int],
    classes: tuple[str, ...],
    background: str | None,
    problems: list[str],
) -> NDArray[np.bool_] | None:
    shown = np.zeros(len(classes), dtype=bool)
    for index, name in enumerate(classes):
        if name == background or name not in columns:
            continue
        value = row[columns[name]]
        if value not in ("0", "1"):
            problems.append(f'{path} line {number}, column "{name}": expected 0 or 1, found "{value}".')
            return None
        shown[index] = value == "1"
    return shown


def read_groups(root: Path, problems: list[str]) -> dict[str, str]:
    """Tile to strip; a tile with an empty strip has none."""
    path = root / "groups.csv"
    rows = read_table(path, problems)
    header_line, header = next(rows, (1, ["tile", "strip"]))
    if "tile" not in header or "strip" not in header:
        problems.append(f'{path} line {header_line} is "{",".join(header)}": expected tile,strip.')
        return {}
    tile_column, strip_column = header.index("tile"), header.index("strip")
    groups: dict[str, str] = {}
    for number, row in rows:
        if len(row) <= max(tile_column, strip_column) or not row[tile_column]:
            problems.append(f"{path} line {number}: expected a tile and its strip, separated by a comma.")
            continue
        tile, strip = tile_name(row[tile_column]), row[strip_column]
        if groups.get(tile, strip) != strip:
            problems.append(f"{path} line {number}: the tile {tile} is in the strip {groups[tile]} already.")
        elif strip:
            groups[tile] = strip
    return groups
