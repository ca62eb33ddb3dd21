"""What the cells of class columns mean: marks, or percentages of the tile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

YES = frozenset(
    {
        "1",
        "x",
        "✓",
        "✔",
        "yes",
        "y",
        "true",
        "ja",
        "j",
        "wahr",
        "oui",
        "vrai",
        "si",
        "sí",
        "sì",
        "vero",
        "verdadero",
    }
)
NO = frozenset({"0", "-", "–", "no", "n", "false", "nein", "falsch", "non", "faux", "falso"})
# Percentages of a table that stays below this are a scale of its own (1 to 5, say).
_LEAST_OF_HIGHEST = 20.0
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?|[.,]\d+)\s*(%?)")
_WHOLE = 100.0


def is_mark(cell: str) -> bool:
    """Whether a cell says yes or no."""
    return cell.casefold() in YES or cell.casefold() in NO or _number(cell) in ((0.0, False), (1.0, False))


def is_value(cell: str) -> bool:
    """Whether a cell says yes, no, or how much of the tile."""
    number = _number(cell)
    return is_mark(cell) or (number is not None and 0 <= number[0] <= _WHOLE)


def add_up(rows: Iterable[Sequence[str]]) -> bool:
    """Whether the numbers of nearly all rows add up to most of 100, or of 1."""
    sums = [
        sum(number[0] for cell in row if (number := _number(cell)) is not None) for row in rows if any(row)
    ]
    return any(
        sum(0.5 * whole <= total <= 1.01 * whole for total in sums) >= 0.8 * len(sums)
        for whole in (1.0, _WHOLE)
    )


def _number(cell: str) -> tuple[float, bool] | None:
    """Number with a decimal point or comma, and whether a percent sign follows; None if it is none."""
    found = _NUMBER.fullmatch(cell.strip())
    return (float(found[1].replace(",", ".")), bool(found[2])) if found else None


@dataclass(frozen=True)
class Reading:
    """How all class columns of one table are read.

    Attributes
    ----------
    kind : "marks", "percentages" or "shares"
        Shares are percentages as parts of 1.
    blank_is_no : bool
        Whether an empty cell means that the class is not shown; else it is a fault.
    least : float
        Percentage of the tile from which a class counts as shown.
    """

    kind: Literal["marks", "percentages", "shares"]
    blank_is_no: bool
    least: float

    @property
    def expected(self) -> str:
        """What a cell has to be, as a sentence says it."""
        if self.kind == "marks":
            return "yes or no, as 1 or 0, x or nothing" if self.blank_is_no else "1 or 0, yes or no"
        return "a percentage from 0 to 100" if self.kind == "percentages" else "a share from 0 to 1"

    @property
    def description(self) -> str:
        """The reading in a few words."""
        if self.kind == "marks":
            return "marks (empty cells mean no)" if self.blank_is_no else "marks, yes or no"
        shown = "percentages" if self.kind == "percentages" else "shares of 1"
        return f"{shown} (a class counts as shown from {self.least:g} % on; empty cells mean 0)"

    def shown(self, cell: str) -> bool | None:
        """Whether a class is shown; None if the cell says nothing that fits."""
        if not cell:
            return False if self.blank_is_no else None
        word = cell.casefold()
        number = _number(cell)
        if self.kind == "marks":
            if number is not None and not number[1] and number[0] in (0.0, 1.0):
                return number[0] == 1.0
            return True if word in YES else False if word in NO else None
        if number is None:
            return False if word in NO else None
        percent = number[0] if number[1] or self.kind == "percentages" else number[0] * _WHOLE
        return percent > 0 and percent >= self.least if 0 <= percent <= _WHOLE else None


def reading_of(cells: Iterable[str], least: float) -> Reading | None:
    """Tell marks from percentages by all cells of the class columns.

    One odd number among marks leaves them marks, so that it is found as a fault.

    Returns
    -------
    Reading or None
        None if the numbers are neither: a scale of 1 to 5, say.
    """
    counted = Counter(cell for cell in cells if cell)
    numbers = {cell: number for cell in counted if (number := _number(cell)) is not None}
    amounts = [cell for cell, number in numbers.items() if number not in ((0.0, False), (1.0, False))]
    words = any(cell.casefold() in YES for cell in counted.keys() - numbers.keys())
    ones = sum(counted[cell] for cell, number in numbers.items() if number == (1.0, False))
    highest = max((value for value, _ in numbers.values()), default=0.0)
    if any(percent for _, percent in numbers.values()):
        return Reading("percentages", blank_is_no=True, least=least)
    if amounts and not words and highest <= 1:
        return Reading("shares", blank_is_no=True, least=least)
    if not amounts or words or sum(counted[cell] for cell in amounts) < ones:
        explicit = any(cell.casefold() in NO or numbers.get(cell) == (0.0, False) for cell in counted)
        return Reading("marks", blank_is_no=not explicit, least=least)
    return None if highest < _LEAST_OF_HIGHEST else Reading("percentages", blank_is_no=True, least=least)
