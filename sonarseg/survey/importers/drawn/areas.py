"""Areas of a picture: outlines, circles and pixels, and which pixels each of them covers.

Coordinates are those of all four programs: x to the right and y down from the outer corner of the first
pixel, in pixels. A pixel is covered if its centre is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError

# Coordinates beyond this, in pixels, are no slip of the hand
_FARTHEST = 1e6


class Area(Protocol):
    """A part of a picture."""

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels it covers, bool (H, W)."""


@dataclass(frozen=True)
class Shape:
    """An area with the name of its class.

    Attributes
    ----------
    place : str
        File, picture and shape, as a sentence names it.
    """

    label: str
    area: Area
    place: str


@dataclass(frozen=True)
class Drawing:
    """What was drawn on one picture.

    Attributes
    ----------
    place : str
        File and picture, as a sentence names it.
    names : tuple of str
        Names that the picture may have in the survey, the likeliest first.
    size : (int, int) or None
        Height and width of the picture that was drawn on, pixels, if the file tells.
    shapes : list of Shape
        From the lowest to the uppermost.
    """

    place: str
    names: tuple[str, ...]
    size: tuple[int, int] | None
    shapes: list[Shape] = field(default_factory=list)


@dataclass(frozen=True)
class Outlines:
    """One or more closed outlines, float64 (N, 2); pixels inside any of them are covered.

    Where an outline crosses itself, the even-odd rule tells inside from outside.
    """

    rings: tuple[NDArray[np.float64], ...]

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels it covers, bool (H, W)."""
        covered = np.zeros((height, width), dtype=bool)
        for ring in self.rings:
            covered |= _inside(ring, height, width)
        return covered


@dataclass(frozen=True)
class Disc:
    """A filled circle: centre and radius in pixels."""

    x: float
    y: float
    radius: float

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels it covers, bool (H, W)."""
        y, x = np.ogrid[0.5:height, 0.5:width]
        covered: NDArray[np.bool_] = (x - self.x) ** 2 + (y - self.y) ** 2 <= self.radius**2
        return covered


@dataclass(frozen=True)
class Pixels:
    """Pixels, bool (h, w), whose first one is at the row `top` and the column `left` of the picture."""

    pixels: NDArray[np.bool_]
    top: int = 0
    left: int = 0

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels it covers, bool (H, W); what lies outside of the picture is left out."""
        covered = np.zeros((height, width), dtype=bool)
        top, left = max(0, self.top), max(0, self.left)
        part = self.pixels[top - self.top :, left - self.left :][
            : max(0, height - top), : max(0, width - left)
        ]
        covered[top : top + part.shape[0], left : left + part.shape[1]] = part
        return covered


def outline(points: Iterable[Sequence[float]], place: str, least: int = 3) -> NDArray[np.float64]:
    """Corners of an outline, float64 (N, 2).

    Raises
    ------
    UserError
        If these are not `least` points or more, each of two finite numbers of a picture's magnitude.
    """
    try:
        ring = np.array([[float(x), float(y)] for x, y in points], dtype=np.float64).reshape(-1, 2)
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{place}: its points are no pairs of numbers ({error}): draw it again.") from error
    if len(ring) < least:
        raise UserError(f"{place} has {len(ring)} points: it takes {least} or more.")
    # Also false for what is not a number
    if not (np.abs(ring) <= _FARTHEST).all():
        raise UserError(f"{place} lies more than {_FARTHEST:g} pixels away, or nowhere: draw it again.")
    return ring


def rectangle(
    left: float,
    top: float,
    right: float,
    bottom: float,
    place: str,
    *,
    turned: float = 0.0,
    around: str = "centre",
) -> NDArray[np.float64]:
    """Corners of a rectangle, float64 (4, 2).

    Parameters
    ----------
    turned : float
        Degrees clockwise around its "centre" or its top left "corner".

    Raises
    ------
    UserError
        If its sides are no finite numbers of a picture's magnitude.
    """
    first, last = outline([(left, top), (right, bottom)], place, least=2)
    angle = np.radians(outline([(turned, 0)], place, least=1)[0, 0])
    pivot = first if around == "corner" else (first + last) / 2
    corners = np.array([first, (last[0], first[1]), last, (first[0], last[1])]) - pivot
    # y points down: this turns clockwise as the picture is seen.
    sine, cosine = np.sin(angle), np.cos(angle)
    moved: NDArray[np.float64] = corners @ np.array([[cosine, sine], [-sine, cosine]]) + pivot
    return moved


def _inside(ring: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centre a closed outline surrounds by the even-odd rule, bool (H, W)."""
    crossings = np.zeros((height, width + 1), dtype=np.int64)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        # Rows whose centre lies in y0 <= y < y1: where two edges meet, one of them counts.
        first, end = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (y0, y1))
        if first >= end:
            continue
        rows = np.arange(first, end)
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        crossings[rows, columns] += 1
    inside: NDArray[np.bool_] = crossings.cumsum(axis=1)[:, :width] % 2 == 1
    return inside
