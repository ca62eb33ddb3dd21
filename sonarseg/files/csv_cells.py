"""CSV files that a spreadsheet may open: no cell of them is run as a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sonarseg.files.whole import whole_file

# What a spreadsheet takes for the beginning of a formula, full-width signs included; tab and CR hide one.
_FORMULA = re.compile(r"'*(?:[\t\r]|\s*[=+\-@＝＋－＠])")
# With these two, a cell that holds either of them is quoted.
END_OF_LINE = "\r\n"


def inert(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet would run; numbers stay as they are.

    Text that begins with apostrophes before such a sign gets one more, so that `as_named` gives it back.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def as_named(cell: str) -> str:
    """Take the apostrophe away that `inert` has put before a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file in which no cell is a formula, whole or not at all.

    Parameters
    ----------
    rows : iterable of sequences
        The titles of the columns first.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=END_OF_LINE)
        writer.writerows([inert(cell) for cell in row] for row in rows)
    return path
