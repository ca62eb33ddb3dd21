"""The legend of class colours, drawn into a picture or as a picture of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sonarseg.class_colours import NO_DATA_RGB, OVERLAY_SHARE, class_rgb

PAPER, INK = (255, 255, 255), (45, 55, 62)
FONT = ImageFont.load_default(13)
LINE = 24
_SWATCH, _GAP = 14, 8
# A swatch of overlays shows the colour over this grey
_MID_GREY = 128


@dataclass(frozen=True)
class Entry:
    """A class of the legend: left edge in pixels, class id, text."""

    left: int
    index: int
    text: str


def shortened(text: str, width: int) -> str:
    """Cut a text to so many pixels."""
    if FONT.getlength(text) <= width:
        return text
    while text and FONT.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def legend_lines(classes: Sequence[str], width: int) -> list[list[Entry]]:
    """Place class names in lines of at most `width` pixels."""
    lines: list[list[Entry]] = [[]]
    left = _GAP
    for index, name in enumerate(classes):
        text = shortened(name, width // 2)
        needed = round(FONT.getlength(text)) + _SWATCH + 5 + 16
        if lines[-1] and left + needed > width:
            lines.append([])
            left = _GAP
        lines[-1].append(Entry(left, index, text))
        left += needed
    return lines


def draw_legend(draw: ImageDraw.ImageDraw, lines: Sequence[Sequence[Entry]], top: int) -> None:
    """Draw placed lines, each `LINE` pixels high, from `top` down."""
    for line in lines:
        for entry in line:
            _swatch(draw, entry.left, top, class_rgb(entry.index))
            draw.text((entry.left + _SWATCH + 5, top + 2), entry.text, INK, font=FONT)
        top += LINE


def map_legend(classes: Sequence[str]) -> NDArray[np.uint8]:
    """Draw the legend of maps: a line per class with its colour in masks and in overlays.

    Parameters
    ----------
    classes : sequence of str
        Class names in the order of their ids.

    Returns
    -------
    uint8 (H, W, 3)
    """
    rows = [f"{index}  {shortened(' '.join(name.split()), 600)}" for index, name in enumerate(classes)]
    last = f"{255}  no data"
    heads = ("masks", "overlays")
    columns = [_GAP]
    for head in heads:
        columns.append(columns[-1] + round(FONT.getlength(head)) + 16)
    width = columns[-1] + round(max(FONT.getlength(text) for text in (*rows, last, "id  class"))) + _GAP
    sheet = Image.new("RGB", (width, LINE * (len(rows) + 2) + _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, head in zip(columns, (*heads, "id  class"), strict=True):
        draw.text((left, 4), head, INK, font=FONT)
    for place, text in enumerate((*rows, last), start=1):
        top = LINE * place
        no_data = place > len(rows)
        colour = NO_DATA_RGB if no_data else class_rgb(place - 1)
        _swatch(draw, columns[0], top, colour)
        if not no_data:
            _swatch(draw, columns[1], top, _over_grey(colour))
        draw.text((columns[2], top + 2), text, INK, font=FONT)
    return np.asarray(sheet)


def _swatch(draw: ImageDraw.ImageDraw, left: int, top: int, colour: tuple[int, int, int]) -> None:
    draw.rectangle((left, top + 4, left + _SWATCH - 1, top + 17), fill=colour)


def _over_grey(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(OVERLAY_SHARE * c + (1 - OVERLAY_SHARE) * _MID_GREY) for c in colour)
    return red, green, blue
