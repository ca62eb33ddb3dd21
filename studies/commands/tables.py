"""What the terminal shows of results: calm tables, as wide as they need, and foreign text that is inert."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

# A pipe or a log file has no width: nothing is folded for one.
PIPE_WIDTH = 240


def calm_table(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> Table:
    """Lay rows out under a head, with no frame and one rule.

    Parameters
    ----------
    columns : sequence of str
        Heads.
    rows : iterable of sequences
        As many cells a row as there are heads. Terminal escapes and markup in them are shown, not
        obeyed.
    words : int
        Columns from the left that hold words; the others hold figures and are aligned right.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, head in enumerate(columns):
        figures = place >= words
        justify: Literal["left", "right"] = "right" if figures else "left"
        # On a narrow terminal words are folded first: half a figure is a wrong figure.
        table.add_column(inert(head), justify=justify, overflow="fold", no_wrap=figures)
    for row in rows:
        table.add_row(*(inert(cell) for cell in row))
    return table


class FittingTable:
    """A table of few rows that stands upright, a column a row, on a terminal too narrow for its figures.

    Parameters
    ----------
    columns, rows
        As `calm_table` takes them; the first column names the rows.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._columns, self._rows = columns, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width there is."""
        table = calm_table(self._columns, self._rows)
        wanted = console.measure(table, options=options.update(max_width=PIPE_WIDTH)).maximum
        if console.is_terminal and wanted > options.max_width:
            names, *others = zip(self._columns, *self._rows, strict=True)
            table = calm_table(["", *map(str, names[1:])], others)
        yield table


def inert(text: object) -> Text:
    """Make foreign text fit for the terminal: neither escapes nor markup act in it."""
    return Text(visible(text))


def visible(text: object) -> str:
    """Put U+FFFD in place of control and format characters, which a terminal would obey."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character)[0] == "C" else character
        for character in str(text)
    )


def show(console: Console, *parts: Table | Text) -> None:
    """Print tables and sentences no wider than the terminal; on a pipe, as wide as they are."""
    if not console.is_terminal:
        console = Console(file=console.file, width=PIPE_WIDTH, color_system=None)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)
