"""The colour of every class: the same in maps, overlays, previews, pictures of the report and figures.

The first seven are Okabe and Ito's (Color Universal Design, 2008). The others, up to 24, were chosen by
computer so that any two of the list, and no data, stay apart (CIEDE2000) with normal colour vision, and as
people without red, green or blue cones see them.
"""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

_CHOSEN = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#5a004b",
    "#4b3c2d",
    "#a5ffb4",
    "#785a78",
    "#8778ff",
    "#000f96",
    "#874b00",
    "#f0d2ff",
    "#c3a5a5",
    "#b4b478",
    "#3c4b4b",
    "#3c4b87",
    "#6900ff",
    "#690000",
    "#87784b",
    "#787878",
    "#0f694b",
)
# Classes whose colours any eye can distinguish
WELL_SEPARATED = len(_CHOSEN)
# The id of pixels without data, and its colour
NO_DATA = 255
NO_DATA_RGB = (224, 224, 224)
# How much of an overlay is the class's colour; the rest is the tile
OVERLAY_SHARE = 0.4


def class_colour(index: int) -> str:
    """Colour of a class id, "#rrggbb"; past the list the hues go round by the golden ratio."""
    if index < WELL_SEPARATED:
        return _CHOSEN[index]
    hue = (index * 0.618033988749895) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42 + 0.18 * (index % 2), 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def class_rgb(index: int) -> tuple[int, int, int]:
    """Colour of a class id as three bytes."""
    text = class_colour(index)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


@cache
def colour_table() -> NDArray[np.uint8]:
    """Colours of all ids that a mask can hold, uint8 (256, 3), read-only; 255 is no data."""
    table = np.array([*(class_rgb(index) for index in range(NO_DATA)), NO_DATA_RGB], dtype=np.uint8)
    table.flags.writeable = False
    return table
