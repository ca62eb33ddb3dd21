"""A trial's picture in Optuna Dashboard: tiles and what became of them, one row a tile, with a legend."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reports.formatting import plain, score
from reports.palette import NO_DATA, class_rgb

SIDE, GAP, TEXT, LEGEND = 176, 8, 22, 24
PAPER, INK = (255, 255, 255), (45, 55, 62)
_FONT = ImageFont.load_default(13)


@dataclass(frozen=True)
class PicturePanel:
    """One picture of a row.

    Attributes
    ----------
    title : str
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
    legend = _legend_lines(classes, width)
    height = sum(heights) + len(rows) * (TEXT + GAP) + GAP + LEGEND * len(legend)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row, row_height in zip(rows, heights, strict=True):
        for place, panel in enumerate(row):
            left = GAP + place * (SIDE + GAP)
            text = plain(panel.title) + ("" if panel.miou is None else f"  mIoU {score(panel.miou)}")
            draw.text((left, top + 2), _cut(text, SIDE), INK, font=_FONT)
            sheet.paste(_drawn(panel, len(classes)), (left, top + TEXT))
        top += TEXT + row_height + GAP
    for line in legend:
        for left, index, name in line:
            draw.rectangle((left, top + 4, left + 13, top + 17), fill=class_rgb(index))
            draw.text((left + 19, top + 2), name, INK, font=_FONT)
        top += LEGEND
    buffer = io.BytesIO()
    sheet.save(buffer, "webp", quality=88, method=4)
    return buffer.getvalue()


def _size(panel: PicturePanel) -> tuple[int, int]:
    """Width and height as drawn: the longer side fills a panel."""
    height, width = panel.pixels.shape[:2]
    factor = SIDE / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _drawn(panel: PicturePanel, num_classes: int) -> Image.Image:
    if not panel.labels:
        return Image.fromarray(panel.pixels).convert("RGB").resize(_size(panel), Image.Resampling.LANCZOS)
    colours = np.full((256, 3), PAPER, dtype=np.uint8)
    colours[:num_classes] = [class_rgb(index) for index in range(num_classes)]
    colours[255] = NO_DATA[:3]
    labels: NDArray[Any] = colours[panel.pixels]
    return Image.fromarray(labels).resize(_size(panel), Image.Resampling.NEAREST)


def _legend_lines(classes: Sequence[str], width: int) -> list[list[tuple[int, int, str]]]:
    """Place the class names: lines of left edge, class id and name."""
    lines: list[list[tuple[int, int, str]]] = [[]]
    left = GAP
    for index, name in enumerate(classes):
        text = _cut(plain(name), width // 2)
        needed = round(_FONT.getlength(text)) + 19 + 16
        if lines[-1] and left + needed > width:
            lines.append([])
            left = GAP
        lines[-1].append((left, index, text))
        left += needed
    return lines


def _cut(text: str, width: int) -> str:
    """Shorten a text to so many pixels."""
    if _FONT.getlength(text) <= width:
        return text
    while text and _FONT.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
