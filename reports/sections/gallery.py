"""Picture rows: class-index pictures coloured with the palette and put into the page as they are."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reports.style.formatting import difference, finite
from reports.style.palette import NO_DATA
from sonarseg.class_colours import class_colour, class_rgb
from sonarseg.errors import UserError
from sonarseg.files.plain_text import plain

FOLDER = "pictures"
ROWS = "rows.json"
TILE = "tile"
# Kind of a picture whose alpha channel tells how strongly the class of each pixel is activated
ACTIVATION = "activation"
# Longest side kept, in pixels: twice the widest that a panel is shown
LARGEST = 512
# The tile stays visible where a class is activated most.
MOST_OPAQUE = 0.8


@dataclass(frozen=True)
class Panel:
    """One picture of a row, as a data address."""

    title: str
    address: str
    width: int
    height: int
    miou: float | None
    is_tile: bool
    see_through: bool


@dataclass(frozen=True)
class PictureRow:
    """A tile and what became of it, from left to right."""

    tile: str
    split: str
    note: str
    panels: list[Panel]


@dataclass(frozen=True)
class Gallery:
    """All rows, and the legend: class name and colour."""

    legend: list[tuple[str, str]]
    rows: list[PictureRow]


def read_gallery(workspace: Path) -> Gallery | None:
    """Read `workspace/pictures/rows.json`; None where no pictures were made.

    Raises
    ------
    UserError
        Where rows.json or a picture that it names cannot be read.
    """
    folder = workspace / FOLDER
    path = folder / ROWS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        legend = [(plain(name), class_colour(index)) for index, name in enumerate(content["classes"])]
        rows = [_row(folder, row, len(legend)) for row in content["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a list of picture rows ({plain(error)}): make the pictures again."
        ) from error
    return Gallery(legend, rows)


def _row(folder: Path, row: dict[str, Any], num_classes: int) -> PictureRow:
    panels = [_panel(folder, panel, num_classes) for panel in row["panels"]]
    return PictureRow(plain(row["tile"]), plain(row["split"]), _note(row), panels)


def _note(row: dict[str, Any]) -> str:
    """Say why the tile is shown: its place by gain or by result, or that every trial shows it."""
    rank, of, gain = (row.get(name) for name in ("rank", "of", "gain"))
    words = {1: "worst result of all", 2: "second worst result", 3: "third worst result"}
    more = [words[row["worst"]]] if row.get("worst") in words else []
    if row.get("of_every_trial"):
        more.append("shown of every trial in the dashboard")
    if not isinstance(rank, int) or not isinstance(of, int) or of < 1:
        return " · ".join(more)
    # rounded as the rows are chosen: halves to the even one
    places = {0: "best gain", round((of - 1) / 2): "median gain", of - 1: "worst gain"}
    place = places.get(rank, f"gain number {rank + 1}")
    return " · ".join([f"{place} of {of}: {difference(finite(gain))}", *more])


def _panel(folder: Path, panel: dict[str, Any], num_classes: int) -> Panel:
    path = (folder / str(panel["file"])).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"{folder / ROWS} names {plain(panel['file'])}, which lies outside its folder.")
    is_tile = panel["title"] == TILE
    try:
        with Image.open(path) as opened:
            opened.load()
            picture = opened.copy()
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture: make the pictures again.") from error
    see_through = panel.get("kind") == ACTIVATION
    if is_tile:
        address = tile_address(picture)
    elif see_through:
        address = activation_address(np.asarray(picture), num_classes)
    else:
        address = labels_address(np.asarray(picture), num_classes)
    miou = finite(panel.get("miou"))
    return Panel(plain(panel["title"]), address, picture.width, picture.height, miou, is_tile, see_through)


def tile_address(picture: Image.Image) -> str:
    """Encode a tile as compact WebP."""
    picture = picture.convert("RGB" if picture.mode in ("RGB", "RGBA", "P") else "L")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return _address(picture, "webp", quality=82, method=4)


def labels_address(labels: np.ndarray[Any, np.dtype[Any]], num_classes: int) -> str:
    """Encode a class-index picture in the colours of the classes; 255 is all but transparent.

    Parameters
    ----------
    labels : ndarray, uint8 (H, W)
        Class ids below `num_classes`, or 255.
    num_classes : int
        K.

    Raises
    ------
    ValueError
        Where the picture is not one of class ids.
    """
    if labels.ndim != 2 or np.any((labels >= num_classes) & (labels != 255)):
        raise ValueError(f"a picture of class ids must be (H, W) with ids below {num_classes} or 255")
    palette = np.zeros((256, 4), dtype=np.uint8)
    palette[:num_classes] = [(*class_rgb(index), 255) for index in range(num_classes)]
    palette[255] = NO_DATA
    step = -(-max(labels.shape) // LARGEST)
    coloured = Image.fromarray(palette[labels[::step, ::step]])
    return _address(coloured, "webp", lossless=True, quality=80, method=4)


def activation_address(activation: np.ndarray[Any, np.dtype[Any]], num_classes: int) -> str:
    """Encode an activation map: the colour of the strongest class, the more opaque the stronger it is.

    Parameters
    ----------
    activation : ndarray, uint8 (H, W, 2)
        The strongest class of each pixel, below `num_classes`, and its activation, 255 the largest.
    num_classes : int
        K.

    Raises
    ------
    ValueError
        Where the picture is not one of an activation map.
    """
    if activation.ndim != 3 or activation.shape[2] != 2 or np.any(activation[..., 0] >= num_classes):
        raise ValueError(f"an activation map must be (H, W, 2) with class ids below {num_classes}")
    palette = np.array([class_rgb(index) for index in range(num_classes)], dtype=np.uint8)
    strength = np.rint(activation[..., 1:] * MOST_OPAQUE).astype(np.uint8)
    coloured = Image.fromarray(np.concatenate([palette[activation[..., 0]], strength], axis=2))
    coloured.thumbnail((LARGEST // 2, LARGEST // 2), Image.Resampling.BILINEAR)
    return _address(coloured, "webp", quality=70, method=4)


def _address(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
