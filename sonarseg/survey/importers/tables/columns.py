"""Which columns of a table name the tile and its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sonarseg.errors import UserError
from sonarseg.survey.importers.foreign_names import ClassesNamed, PicturesNamed, plain, quoted
from sonarseg.survey.importers.tables.sheet import Row, Sheet, tile_columns
from sonarseg.survey.importers.tables.values import add_up, is_mark, is_value

# Titles of one column with the names of classes, as `plain` writes them
_LIST_TITLES = frozenset(
    (
        "class",
        "classes",
        "label",
        "labels",
        "tag",
        "tags",
        "sediment",
        "sediments",
        "seafloor",
        "type",
        "types",
    )
)
# Titles of columns that look like numbers or marks but speak of no class
_OTHER_TITLES = frozenset(
    (
        *(
            "lat",
            "latitude",
            "lon",
            "long",
            "longitude",
            "easting",
            "northing",
            "x",
            "y",
            "z",
            "depth",
            "altitude",
        ),
        *(
            "date",
            "time",
            "strip",
            "line",
            "track",
            "survey",
            "split",
            "operator",
            "author",
            "checked",
            "done",
        ),
        *(
            "remark",
            "remarks",
            "comment",
            "comments",
            "note",
            "notes",
            "no",
            "nr",
            "number",
            "index",
            "row",
            "ping",
        ),
        *("width", "height", "size", "mask", "quality", "unnamed0"),
    )
)


@dataclass(frozen=True)
class Columns:
    """Columns of a table, by position.

    Attributes
    ----------
    tile : int
    classes : dict
        Position to class, one column for each class; empty if `listed` is not None.
    listed : int or None
        The column that lists the classes of a tile.
    passed_over : tuple of str
        Titles of the other columns.
    """

    tile: int
    classes: dict[int, str]
    listed: int | None
    passed_over: tuple[str, ...]


def find_columns(
    sheet: Sheet, classes: tuple[str, ...], background: str | None, named: PicturesNamed
) -> Columns:
    """Find the columns of a sheet that has a header.

    Parameters
    ----------
    classes : tuple of str
        Classes of the survey; if empty, the table tells them.
    background : str or None
        The class that needs no column.
    named : PicturesNamed
        Finds the picture that a cell means: of several columns that may name tiles, one that does is taken.

    Raises
    ------
    UserError
        If there is no column of tiles or of classes, or one for a class is missing or there twice.
    """
    place = sheet.header
    if place is None:
        shown = ", ".join(map(quoted, sheet.rows[0].cells[:12]))
        raise UserError(
            f"{sheet.place} has no column of tile names: expected a header with one called tile, file, "
            f'filename, image, name, picture or id, found "{shown}".'
        )
    header, body = sheet.rows[place], sheet.rows[place + 1 :]
    titles = [" ".join(title.split()) for title in header.cells]
    candidates = tile_columns(titles)
    tile = max(candidates, key=lambda column: sum(row.cell(column) in named for row in body))
    others = [column for column in range(len(titles)) if titles[column] and column not in candidates]
    for column in [column for column in candidates if column != tile]:
        # A class may be called "name" or "image" as well.
        if plain(titles[column]) in map(plain, classes):
            others.append(column)
    where = f"{sheet.place} row {header.number}"
    by_class = (
        _of_known(where, titles, others, classes, background)
        if classes
        else _of_marks(where, titles, others, body, background)
    )
    listed = None if by_class else _list_column(where, titles, others, body, classes)
    used = {tile, listed, *by_class}
    passed = tuple(title for column, title in enumerate(titles) if title and column not in used)
    return Columns(tile, {c: name for c, name in by_class.items() if name != background}, listed, passed)


def _of_known(
    where: str, titles: Sequence[str], others: Sequence[int], classes: tuple[str, ...], background: str | None
) -> dict[int, str]:
    """Columns of the survey's classes; none if no title is a class."""
    known = ClassesNamed(classes)
    found: dict[int, str] = {}
    for column in others:
        name = known.find(titles[column])
        if name is None:
            continue
        if name in found.values():
            raise UserError(f'{where} has two columns for the class "{name}": keep one.')
        found[column] = name
    missing = [name for name in classes if name not in found.values() and name != background]
    if found and missing:
        left = ", ".join(f'"{quoted(titles[column])}"' for column in others if column not in found) or "none"
        raise UserError(
            f'{where} has no column for the class "{missing[0]}" of classes.txt (other columns: {left}): add '
            "it, or correct its title; for a class that every tile may hold, use --background."
        )
    return found


def _of_marks(
    where: str, titles: Sequence[str], others: Sequence[int], body: Sequence[Row], background: str | None
) -> dict[int, str]:
    """Columns that hold marks or percentages alone, if the survey names no classes yet."""
    marks, values = [], []
    for column in others:
        cells = [cell for row in body if (cell := row.cell(column))]
        title = plain(titles[column])
        if title in _OTHER_TITLES or not cells or (title in _LIST_TITLES and len(others) == 1):
            continue
        # Some wrong cells leave a column that of a class: they are found as faults.
        if sum(map(is_mark, cells)) * 2 > len(cells):
            marks.append(column)
        elif sum(map(is_value, cells)) * 10 >= 9 * len(cells):
            values.append(column)
    # Beside columns of marks, other numbers are amounts only if the rows add up to a whole.
    together = sorted(marks + values)
    cover = not marks or add_up([row.cell(column) for column in together] for row in body)
    found: dict[int, str] = {}
    for column in together if cover else marks:
        title = titles[column]
        if title in found.values():
            raise UserError(f'{where} has two columns "{title}": keep one.')
        found[column] = background if background and plain(title) == plain(background) else title
    return found


def _list_column(
    where: str, titles: Sequence[str], others: Sequence[int], body: Sequence[Row], classes: tuple[str, ...]
) -> int:
    """The one column that lists classes."""
    by_title = [column for column in others if plain(titles[column]) in _LIST_TITLES]
    if len(by_title) == 1:
        return by_title[0]
    known = ClassesNamed(classes)
    holds = Counter(
        {
            column: sum(any(known.find(name) for name in split_list(row.cell(column), known)) for row in body)
            for column in others
        }
    )
    best = holds.most_common(2)
    if best and best[0][1] and (len(best) == 1 or best[1][1] < best[0][1]):
        return best[0][0]
    if len(others) == 1:
        return others[0]
    shown = ", ".join(f'"{quoted(titles[column])}"' for column in others) or "none"
    raise UserError(
        f"{where} has no column of classes (columns besides the tile: {shown}): expected one for each class, "
        'or one called "classes" that lists them.'
    )


def split_list(cell: str, known: ClassesNamed) -> list[str]:
    """Names that a cell lists, separated by comma, semicolon, slash, bar or line; known names stay whole."""
    if known.find(cell) is not None:
        return [cell]
    names = [cell]
    for separator in ("\n", ";", "|", ",", "/"):
        names = [part for name in names for part in ([name] if known.find(name) else name.split(separator))]
    return [" ".join(name.split()) for name in names if name.strip()]
