"""CSV files as spreadsheets write them: comma, semicolon or tab, in any common encoding."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import as_named
from sonarseg.survey.importers.tables.sheet import Row, Sheet

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_delimited(path: Path, content: bytes) -> Sheet:
    """Read a text table; the separator is the one under which a header with the most columns is found.

    Parameters
    ----------
    path : Path
        File that sentences name.
    content : bytes

    Raises
    ------
    UserError
        If it is no text, empty, or not CSV.
    """
    text, encoding = _decoded(path, content)
    # Excel writes and obeys a first line "sep=;".
    named = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    separators = [named[1]] if named else list(_SEPARATORS)
    sheets = {separator: Sheet(str(path), _rows(path, text, separator)) for separator in separators}
    separator = max(sheets, key=lambda one: _columns(sheets[one]))
    if not sheets[separator].rows:
        raise UserError(f"{path} is empty: expected a header and one row per tile.")
    rows = sheets[separator].rows[1:] if named else sheets[separator].rows
    notes = (f"columns separated by {_SEPARATORS.get(separator, separator)}",)
    return Sheet(str(path), rows, notes + ((f"read as {encoding}",) if encoding else ()))


def _columns(sheet: Sheet) -> tuple[bool, int]:
    """Whether there is a header, and how many titles it has."""
    header = sheet.header
    row = sheet.rows[header or 0].cells if sheet.rows else ()
    return header is not None, sum(map(bool, row))


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    """Text, and the name of its encoding unless that is UTF-8."""
    try:
        for mark, encoding in _MARKS.items():
            if content.startswith(mark):
                return content.decode(encoding), "" if mark == codecs.BOM_UTF8 else encoding.upper()
        if b"\0" in content:
            raise UserError(f"{path} is no text: save the table as .xlsx or as .csv in UTF-8.")
        try:
            return content.decode("utf-8"), ""
        except UnicodeDecodeError:
            return content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is text in an encoding that cannot be told: save the table as .xlsx or as .csv in UTF-8."
        ) from error


def _rows(path: Path, text: str, separator: str) -> tuple[Row, ...]:
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    first = 1
    try:
        for cells in reader:
            trimmed = tuple(as_named(cell.strip()) for cell in cells)
            if any(trimmed):
                rows.append(Row(first, trimmed))
            # A cell in quotes may go over several lines: the row has the number of its first.
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} line {first} cannot be read as CSV ({error}): correct its quotation marks."
        ) from error
    return tuple(rows)
