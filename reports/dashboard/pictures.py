"""A trial's picture in Optuna Dashboard: tiles and what became of them, one row a tile, with a legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reports.style.formatting import score
from sonarseg.class_colours import colour_table
from sonarseg.class_legend import FONT, INK, LINE, PAPER, draw_legend, legend_lines, shortened
from sonarseg.files.plain_text import plain

SIDE, GAP, TEXT = 176, 8, 22


@dataclass(frozen=True)
class PicturePanel:
    """One picture of a row.

    Attributes
    ----------
    pixels : uint8 (H, W) or (H, W, 3)
        Grey levels or RGB; class ids and 255 where `labels`.
    labels : bool
        Whether the pixels are class ids.
    miou : float or None
        Score of the labels on this tile.
    """

    title: str
    pixels: NDArray[np.uint8]
    labels: bool = True
    miou: float | None = None


def trial_picture(rows: Sequence[Sequence[PicturePanel]], classes: Sequence[str]) -> bytes:
    """Draw the rows one below the other, as a WebP file.

    Parameters
    ----------
    rows : sequence of sequences of PicturePanel
        A row a tile, one at least.
    classes : sequence of str
        Class names, for the legend.
    """
    columns = max(len(row) for row in rows)
    width = columns * (SIDE + GAP) + GAP
    heights = [max(_size(panel)[1] for panel in row) for row in rows]
    legend = legend_lines([plain(name) for name in classes], width)
    height = sum(heights) + len(rows) * (TEXT + GAP) + GAP + LINE * len(legend)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row, row_height in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            left = GAP + place * (SIDE + GAP)
            text = plain(panel.title) + ("" if panel.miou is None else f"  mIoU {score(panel.miou)}")
            draw.text((left, top + 2), shortened(text, SIDE), INK, font=FONT)
            sheet.paste(_drawn(panel), (left, top + TEXT))
        top += TEXT + row_height + GAP
    draw_legend(draw, legend, top)
    buffer = io.BytesIO()
    sheet.save(buffer, "webp", quality=88, method=4)
    return buffer.getvalue()


def _size(panel: PicturePanel) -> tuple[int, int]:
    """Width and height as drawn: the longer side fills a panel."""
    height, width = panel.pixels.shape[:2]
    factor = SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _drawn(panel: PicturePanel) -> Image.Image:
    if not panel.labels:
        return Image.fromarray(panel.pixels).convert("RGB").resize(_size(panel), Image.Resampling.LANCZOS)
    return Image.fromarray(colour_table()[panel.pixels]).resize(_size(panel), Image.Resampling.NEAREST)
