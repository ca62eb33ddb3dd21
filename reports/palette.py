"""The colours of the report: one palette, safe for the colour-blind, in light and dark.

Class colours follow Okabe and Ito (Color Universal Design, 2008), then Paul Tol's "muted" scheme
(SRON/EPS/TN/09-002); a class keeps its colour in every picture, plot and legend.
"""

from __future__ import annotations

import colorsys

_CLASS_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#8c6bb1",
    "#882255",
    "#999933",
    "#44aa99",
    "#ddcc77",
)
NO_DATA = (128, 128, 128, 40)

# Middle tones, legible on the light and on the dark page alike (contrast 3 : 1 or more)
ACCENT = "#1b87a6"
NEUTRAL = "#7d8a94"
FAINT = "#9aa7b0"
WARNING = "#c2571a"
LOSS_COLOURS = {
    "cross-entropy": "#7d8a94",
    "class-weighted cross-entropy": "#8c6bb1",
    "focal": "#c17d00",
    "lovasz_softmax": "#1b87a6",
}


def class_colour(index: int) -> str:
    """Colour of a class id, "#rrggbb"; past the palette the hues go round by the golden ratio."""
    if index < len(_CLASS_COLOURS):
        return _CLASS_COLOURS[index]
    hue = (index * 0.618033988749895) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42 + 0.18 * (index % 2), 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def class_rgb(index: int) -> tuple[int, int, int]:
    """Colour of a class id as three bytes."""
    text = class_colour(index)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


# From little to much, for surfaces and coloured points: sand to deep water, lightness falls all the way
SEQUENTIAL = ((0.0, "#f2e2b6"), (0.25, "#9fd0bd"), (0.5, "#48a3b4"), (0.75, "#216f97"), (1.0, "#1d3f6f"))
_SERIES = (ACCENT, WARNING, "#8c6bb1", "#c17d00", NEUTRAL)


def series_colour(index: int) -> str:
    """Colour of one of several studies in a plot; after five they come round again."""
    return _SERIES[index % len(_SERIES)]
