"""How quality is spread over the tiles: the mean hides the tiles on which a map is useless."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.figures.base import Figure, Spec, axis, hover, layout, points
from reports.style.formatting import count, figure_text, score

# Points drawn a row; a longer one is thinned evenly by rank
MOST_TILES = 400


@dataclass(frozen=True)
class TileScores:
    """miou of each tile under one thing, in one colour; NaN where a tile has nothing to score."""

    label: str
    colour: str
    scores: NDArray[np.float64]


def tile_scores(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the `miou` of each tile by itself (T,), NaN where no pixel counts."""
    intersection = np.diagonal(confusions, axis1=1, axis2=2).astype(np.float64)
    union = confusions.sum(axis=1) + confusions.sum(axis=2) - intersection
    present = union > 0
    iou = np.where(present, intersection / np.where(present, union, 1), 0.0).sum(axis=1)
    number = present.sum(axis=1)
    return np.where(number > 0, iou / np.maximum(1, number), np.nan)


def tiles_figure(key: str, series: list[TileScores], tiles: list[str]) -> Figure:
    """Draw a point a tile, a row a thing, with the quartiles; `series` holds one element at least."""
    data: list[Spec] = []
    spoken = []
    for place, each in enumerate(series):
        known = np.flatnonzero(~np.isnan(each.scores))
        order = known[np.argsort(each.scores[known], kind="stable")]
        shown = order[:: max(1, -(-len(order) // MOST_TILES))]
        low, middle, high = np.quantile(each.scores[known], [0.25, 0.5, 0.75])
        data += _row(place, each, shown, tiles, (float(low), float(middle), float(high)))
        spoken.append(
            f"{each.label}: median {score(float(middle))}, quartiles {score(low)} and {score(high)}"
        )
    names = [figure_text(each.label) for each in series]
    return Figure(
        key,
        data,
        layout(
            xaxis=axis("miou of one tile", showgrid=True, range=[-0.02, 1.02], showline=False, ticks=""),
            yaxis=axis(
                tickvals=list(range(len(series))),
                ticktext=names,
                range=[len(series) - 0.45, -0.55],
                showline=False,
                ticks="",
            ),
            margin={"l": 60, "r": 14, "t": 6, "b": 40},
        ),
        "miou of each tile",
        f"A point per tile of val ({count(len(series[0].scores), 'tile')}); the bar spans the middle half, "
        "its notch is the median.",
        "; ".join(spoken) + ".",
        height=max(190, 80 + 56 * len(series)),
        wide=False,
    )


def _row(
    place: int, each: TileScores, shown: NDArray[np.int64], tiles: list[str], quartiles: tuple[float, ...]
) -> list[Spec]:
    low, middle, high = quartiles
    # evenly spread in height, by a rule that repeats: no chance in a figure
    heights = [round(place + 0.05 + 0.3 * ((i * 0.618034) % 1), 3) for i in range(len(shown))]
    texts = [
        f"{figure_text(tiles[i]) if i < len(tiles) else f'tile {i}'}<br>{figure_text(each.label)} "
        f"{score(float(each.scores[i]))}"
        for i in shown
    ]
    x = [round(float(each.scores[i]), 5) for i in shown]
    silent = {"type": "scatter", "hoverinfo": "skip", "name": figure_text(each.label), "cliponaxis": False}
    return [
        silent
        | {
            "mode": "lines",
            "x": [low, high],
            "y": [place - 0.14] * 2,
            "line": {"color": each.colour, "width": 9},
        },
        silent
        | {
            "mode": "markers",
            "x": [middle],
            "y": [place - 0.14],
            "marker": {"symbol": "line-ns-open", "size": 9, "color": "#ffffff", "line": {"width": 2}},
        },
        points(x, heights, each.label, each.colour, size=5, opacity=0.6, **hover(texts)),
    ]
