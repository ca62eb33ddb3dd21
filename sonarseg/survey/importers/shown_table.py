"""A table of the classes that each tile may hold, outside a survey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.lists import read_classes, read_label_table, read_table


def read_shown(
    path: Path, names: Sequence[str], num_classes: int, background_id: int | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Read which classes each tile may hold from a survey's labels.csv.

    A column `tile`, and a column of 0 and 1 a class: by name where classes.txt lies beside the table, else
    in the order of the ids. The background is always shown and needs no column.

    Raises
    ------
    UserError
        Where the table is missing, a column or cell is wrong, or a tile has no row or two of them.
    """
    problems: list[str] = []
    rows = list(read_table(path, problems))
    if not rows or problems:
        raise UserError(problems[0] if problems else f"{path} is missing or empty: name a table of labels.")
    header = rows[0][1]
    if len(header) == 1:
        # Other separators than commas are named by the reader of every table of labels.
        read_label_table(path, (), None, problems)
        if problems:
            raise UserError(problems[0])
    classes = _classes(path, header, num_classes, background_id)
    background = None if background_id is None else classes[background_id]
    shown = read_label_table(path, classes, background, problems).shown
    if problems:
        raise UserError(problems[0])
    if background_id is not None:
        for kept in shown.values():
            kept[background_id] = True
    for name in names:
        if name not in shown:
            raise UserError(f"{path} has no row for the tile {name}: add one with 0 or 1 for each class.")
    return shown


def _classes(path: Path, header: list[str], num_classes: int, background_id: int | None) -> tuple[str, ...]:
    """Class names in the order of their ids; "" for a background that nothing names."""
    named = [name for name in header if name != "tile"]
    if path.with_name("classes.txt").is_file():
        problems: list[str] = []
        classes = list(read_classes(path.parent, problems))
        if problems:
            raise UserError(problems[0])
    else:
        classes = list(named)
        if background_id is not None and len(named) < num_classes:
            classes.insert(background_id, "")
    needed = {name for k, name in enumerate(classes) if k != background_id}
    if (
        len(classes) != num_classes
        or len({*header}) != len(header)
        or not (needed <= {*named} <= {*classes} and "tile" in header)
    ):
        raise UserError(
            f'{path} has the columns "{",".join(header)}", expected tile and one for each of the '
            f"{num_classes} classes (as in classes.txt, if it is there); only the background may go without."
        )
    return tuple(classes)
