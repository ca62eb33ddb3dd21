"""The colours of the report: one palette, safe for the colour-blind, in light and dark.

The colours of classes are those of `sonarseg.class_colours`.
"""

from __future__ import annotations

# Pixels without data let the page through
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


# From little to much, for surfaces and coloured points: sand to deep water, lightness falls all the way
SEQUENTIAL = ((0.0, "#f2e2b6"), (0.25, "#9fd0bd"), (0.5, "#48a3b4"), (0.75, "#216f97"), (1.0, "#1d3f6f"))
_SERIES = (ACCENT, WARNING, "#8c6bb1", "#c17d00", NEUTRAL)


def series_colour(index: int) -> str:
    """Colour of one of several studies in a plot; after five they come round again."""
    return _SERIES[index % len(_SERIES)]
