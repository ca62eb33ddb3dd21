"""The file of rows: what a run measures takes the place of the same case on the same card, the rest stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from result_rows import Row


def _case_and_card(row: Row) -> str:
    """The case without the commit, which ends it."""
    return str(row["case"]).rpartition(", ")[0]


def merged(stored: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """Stored rows in their order, each replaced if it was measured, and after them what is new."""
    new = {_case_and_card(row): row for row in measured}
    rows = [new.pop(_case_and_card(row), row) for row in stored]
    return [*rows, *new.values()]


def read_rows(path: Path) -> list[Row]:
    """Rows of a result file; none if there is no file."""
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def read_lines(path: Path) -> list[Row]:
    """Rows that a step has kept, one a line; a step that was ended may have written half of the last."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
