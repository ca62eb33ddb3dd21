"""Excel workbooks: the values that a person sees, sheet by sheet."""

from __future__ import annotations

import io
import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.survey.importers.damaged import DAMAGED, reason
from sonarseg.survey.importers.tables.sheet import Row, Sheet

WORKBOOK_START = b"PK"
# Both .xls and workbooks with a password
OLD_START = b"\xd0\xcf\x11\xe0"


def read_workbook(path: Path, content: bytes) -> list[Sheet]:
    """Read all sheets that hold something.

    Parameters
    ----------
    path : Path
        File that sentences name.
    content : bytes

    Raises
    ------
    UserError
        If it cannot be read, or holds a formula without its value.
    """
    book = _opened(path, content, values=False)
    formulas = any(cell.data_type == "f" for sheet in book.worksheets for row in sheet for cell in row)
    values = _opened(path, content, values=True) if formulas else book
    sheets = []
    for sheet in book.worksheets:
        place = str(path) if len(book.worksheets) == 1 else f"{path} (sheet {sheet.title})"
        rows = _rows(place, sheet, values[sheet.title])
        if rows:
            _refuse_merged(place, sheet)
            sheets.append(Sheet(place, rows))
    if not sheets:
        raise UserError(f"{path} is empty: expected a header and one row per tile.")
    return sheets


def _opened(path: Path, content: bytes, *, values: bool) -> Any:
    import openpyxl

    try:
        with warnings.catch_warnings():
            # What openpyxl leaves out (pictures, drop-down lists) holds no label.
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(io.BytesIO(content), data_only=values)
    except DAMAGED as error:
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({reason(error)}): save it again as .xlsx or .csv."
        ) from error


def _rows(place: str, sheet: Any, values: Any) -> tuple[Row, ...]:
    rows = []
    for cells in sheet.iter_rows():
        texts = []
        for cell in cells:
            shown = values.cell(cell.row, cell.column) if cell.data_type == "f" else cell
            if cell.data_type == "f" and shown.value is None:
                raise UserError(
                    f"{place} row {cell.row}, column {cell.column_letter}: the formula has no value in "
                    "the file: open the table in a spreadsheet program and save it."
                )
            texts.append(_text(shown.value, cell.number_format))
        if any(texts):
            rows.append(Row(cells[0].row, tuple(texts)))
    return tuple(rows)


def _refuse_merged(place: str, sheet: Any) -> None:
    """Refuse merged cells over several rows: only the first of them holds the value."""
    for merged in sheet.merged_cells.ranges:
        if merged.max_row > merged.min_row:
            raise UserError(
                f"{place} has merged cells in rows {merged.min_row} to {merged.max_row} ({merged.coord}): "
                "split them, and fill in each row."
            )


def _text(value: object, number_format: str) -> str:
    """Text of a cell as it is shown: no decimals for whole numbers, % if its format says so."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        percent = "%" in number_format
        return f"{value * 100 if percent else value:.10g}{'%' if percent else ''}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).strip()
