"""Confusion matrices as tables: what each class is taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the page's small type, and on both sides of a cell
_PIXELS_A_LETTER, _PADDING = 8, 16


@dataclass(frozen=True)
class ConfusionTable:
    """Shares of the true pixels of each class, rows truth, columns prediction.

    Attributes
    ----------
    label, colour : str
        Whose predictions they are.
    shares : list of list of (float or None)
        Each row adds up to 1; None where the truth has no pixel of the class.
    pixels : list of int
        True pixels a class, over all tiles and runs.
    """

    label: str
    colour: str
    classes: list[str]
    shares: list[list[float | None]]
    pixels: list[int]

    @property
    def least_width(self) -> int:
        """Pixels that it takes on the page without being scrolled, about."""
        names = [len(name) for name in self.classes]
        return _PIXELS_A_LETTER * (max(names) + sum(max(length, 5) for length in names) + 8) + _PADDING * (
            len(names) + 2
        )

    def worst(self) -> tuple[str, str, float] | None:
        """Find the largest confusion: true class, what it is taken for, share of its pixels."""
        wrong = [
            (share, row, column)
            for row, shares in enumerate(self.shares)
            for column, share in enumerate(shares)
            if share is not None and row != column and share > 0
        ]
        if not wrong:
            return None
        share, row, column = max(wrong)
        return self.classes[row], self.classes[column], share


def confusion_table(
    label: str, colour: str, classes: list[str], runs: list[NDArray[np.int64]]
) -> ConfusionTable | None:
    """Sum the confusions of runs over their tiles; None where the classes are not known by name."""
    if not runs or any(run.shape[1] != len(classes) for run in runs):
        return None
    total = np.sum([run.sum(axis=0) for run in runs], axis=0)
    pixels = total.sum(axis=1)
    shares = [
        [float(count / pixels[row]) if pixels[row] else None for count in total[row]]
        for row in range(len(total))
    ]
    return ConfusionTable(label, colour, classes, shares, [int(number) for number in pixels])
