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
# Words are folded to so many cells before a table is laid out otherwise.
LEAST_WORD = 8


class FittingTable:
    """A table with no frame and one rule, no figure of which is ever cut.

    On a terminal too narrow for its figures it stands upright, a column a row; where that is too
    wide as well, its rows follow each other.

    Parameters
    ----------
    columns : sequence of str
        Heads.
    rows : iterable of sequences
        As many cells a row as there are heads; the first one names the row. Terminal escapes and markup
        in them are shown, not obeyed.
    words : int
        Columns from the left that hold words; the others hold figures and are aligned right.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> None:
        self._columns, self._rows, self._words = columns, list(rows), words

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for the width there is."""
        flat = (self._columns, self._rows, self._words)
        if not self._rows or not console.is_terminal or _fits(console, options, *flat):
            yield _laid_out(*flat)
            return
        names, *others = zip(self._columns, *self._rows, strict=True)
        upright = (["", *map(str, names[1:])], others, 1)
        if _fits(console, options, *upright):
            yield _laid_out(*upright)
            return
        for row in self._rows:
            first, *cells = zip(self._columns, row, strict=True)
            yield _laid_out([str(part) for part in first], cells, words=2)


def _laid_out(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, head in enumerate(columns):
        figures = place >= words
        justify: Literal["left", "right"] = "right" if figures else "left"
        # On a narrow terminal words are folded first: half a figure is a wrong figure.
        table.add_column(inert(head), justify=justify, overflow="fold", no_wrap=figures)
    for row in rows:
        table.add_row(*(inert(cell) for cell in row))
    return table


def _fits(
    console: Console,
    options: ConsoleOptions,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    words: int,
) -> bool:
    """Whether all figures are whole and words are folded no narrower than `LEAST_WORD`."""

    def least(cells: Sequence[object]) -> list[str]:
        shown = [visible(cell) for cell in cells]
        return [*(cell[:LEAST_WORD] for cell in shown[:words]), *shown[words:]]

    table = _laid_out(least(columns), map(least, rows), words)
    wanted = console.measure(table, options=options.update(max_width=PIPE_WIDTH)).maximum
    return bool(wanted <= options.max_width)


def inert(text: object) -> Text:
    """Make foreign text fit for the terminal: neither escapes nor markup act in it."""
    return Text(visible(text))


def visible(text: object) -> str:
    """Put U+FFFD in place of control and format characters, which a terminal would obey."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character)[0] == "C" else character
        for character in str(text)
    )


def show(console: Console, *parts: FittingTable | Text) -> None:
    """Print tables and sentences no wider than the terminal; on a pipe, as wide as they are."""
    if not console.is_terminal:
        console = Console(file=console.file, width=PIPE_WIDTH, color_system=None)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)
