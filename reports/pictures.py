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

from reports.figures import finite
from reports.formatting import difference, plain
from reports.palette import NO_DATA, class_colour, class_rgb
from sonarseg.errors import UserError

FOLDER = "pictures"
ROWS = "rows.json"
TILE = "tile"
# Longest side kept, in pixels: twice the widest that a panel is shown
LARGEST = 512


@dataclass(frozen=True)
class Panel:
    """One picture of a row, as a data address."""

    title: str
    address: str
    width: int
    height: int
    miou: float | None
    is_tile: bool


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
    """Say which place the tile has among all by its gain, and whether the result is worst on it."""
    rank, of, gain = (row.get(name) for name in ("rank", "of", "gain"))
    worst = ["worst result of all"] if row.get("worst") is True else []
    if not isinstance(rank, int) or not isinstance(of, int) or of < 1:
        return " · ".join(worst)
    # rounded as the rows are chosen: halves to the even one
    words = {0: "best gain", round((of - 1) / 2): "median gain", of - 1: "worst gain"}
    place = words.get(rank, f"gain number {rank + 1}")
    return " · ".join([f"{place} of {of}: {difference(finite(gain))}", *worst])


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
    address = tile_address(picture) if is_tile else labels_address(np.asarray(picture), num_classes)
    return Panel(
        plain(panel["title"]), address, picture.width, picture.height, finite(panel.get("miou")), is_tile
    )


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


def _address(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
