"""labelme: one JSON file per picture, with polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.areas import (
    Area,
    Disc,
    Drawing,
    Outlines,
    Pixels,
    Shape,
    outline,
    rectangle,
)
from sonarseg.survey.importers.drawn.fields import field, read_any_json


def read_labelme(source: Path, problems: list[str]) -> Iterator[Drawing]:
    """Read a file of labelme, or all of a folder; a later shape lies on the earlier ones."""
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not paths:
        raise UserError(f"{source} holds no .json file: name the folder that labelme saved to.")
    for path in paths:
        try:
            content = read_any_json(path)
            shapes = field(content, "shapes", list, str(path))
            size = (
                field(content, "imageHeight", int, str(path)),
                field(content, "imageWidth", int, str(path)),
            )
        except UserError as error:
            problems.append(str(error))
            continue
        drawing = Drawing(str(path), (str(content.get("imagePath") or ""), path.stem), size)
        for number, shape in enumerate(shapes, start=1):
            place = f"{path} shape {number}"
            try:
                drawing.shapes.append(Shape(field(shape, "label", str, place), _area(shape, place), place))
            except UserError as error:
                problems.append(str(error))
        yield drawing


def _area(shape: dict[str, Any], place: str) -> Area:
    kind = shape.get("shape_type") or "polygon"
    points = field(shape, "points", list, place)
    if kind == "polygon":
        return Outlines((outline(points, place),))
    if kind not in ("rectangle", "circle", "mask"):
        raise UserError(f"{place} is a {kind}, not an area: draw a polygon, rectangle, circle or mask.")
    if len(points) != 2:
        raise UserError(f"{place}: a {kind} has two points, this one {len(points)}: draw it again.")
    (x0, y0), (x1, y1) = outline(points, place, least=2).tolist()
    if kind == "circle":
        # The centre, and a point on the circle
        return Disc(x0, y0, math.hypot(x1 - x0, y1 - y0))
    if kind == "rectangle":
        return Outlines((rectangle(x0, y0, x1, y1, place),))
    return _pixels(field(shape, "mask", str, place), (round(y0), round(x0)), (round(y1), round(x1)), place)


def _pixels(text: str, first: tuple[int, int], last: tuple[int, int], place: str) -> Pixels:
    """Pixels of a mask: a PNG from its first to its last pixel (row, column), both inclusive."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
            pixels = np.asarray(picture.convert("L")) > 0
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{place}: its mask is no PNG ({error}): save it again.") from error
    expected = (last[0] - first[0] + 1, last[1] - first[1] + 1)
    if pixels.shape != expected:
        raise UserError(
            f"{place}: its mask is {pixels.shape[1]} x {pixels.shape[0]} pixels, its points say "
            f"{expected[1]} x {expected[0]}: save it again."
        )
    return Pixels(pixels, *first)
