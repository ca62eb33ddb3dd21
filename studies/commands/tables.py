"""Calm tables for the terminal: no frame, one rule under the head, figures right-aligned, names inert."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text


def calm_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> Table:
    """Lay rows out under a head; the first column is text, the others are figures.

    Parameters
    ----------
    columns : sequence of str
        Heads.
    rows : sequence of sequences
        As many cells a row as there are heads. Terminal escapes and markup in them are shown, not
        obeyed.
    title : str
        A line above.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        title=inert(title) if title else None,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        pad_edge=False,
    )
    for place, head in enumerate(columns):
        table.add_column(inert(head), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(inert(cell) for cell in row))
    return table


def inert(text: object) -> Text:
    """Make foreign text fit for the terminal: neither escapes nor markup act in it."""
    from reports.formatting import plain

    return Text(plain(text))
