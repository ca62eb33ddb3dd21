"""How much of the mapped sea floor each class covers: of the maps that were written, or of val."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.findings.epochs import FINAL
from reports.sections.loss import LossSection
from reports.style.formatting import count
from sonarseg.class_colours import class_colour
from sonarseg.errors import UserError
from sonarseg.files.plain_text import plain

MAPS = Path("maps") / "areas.csv"
MASKS = "masks"
_PIXELS = " (pixels)"


@dataclass(frozen=True)
class Area:
    """A class of the map: name, colour, pixels, and their share of all pixels with a class."""

    name: str
    colour: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Areas:
    """What was counted, in words, and each class in the order of the ids."""

    source: str
    rows: list[Area]


def class_areas(workspace: Path, loss: LossSection | None, classes: Sequence[str]) -> Areas | None:
    """Count the pixels of each class; None if there are neither maps nor predictions of val.

    Parameters
    ----------
    workspace : Path
        With `maps/areas.csv` if maps were written; they are counted rather than val.
    loss : LossSection or None
        Its best run's predictions of val are counted else; those of the one plain run if nothing was tuned.
    classes : sequence of str
        Class names in the order of their ids.

    Raises
    ------
    UserError
        If areas.csv or a predicted mask cannot be read.
    """
    winner = None if loss is None else loss.table.winner(loss.study.metric)
    scored = None if winner is None else winner.trials[0].confusions
    if (workspace / MAPS).is_file():
        tiles, pixels = _of_maps(workspace / MAPS, len(classes))
        source = f"{count(tiles, 'tile')} mapped by sonarseg predict ({MAPS.as_posix()})"
    elif scored is not None and scored.shape[1] == len(classes):
        pixels = scored.sum(axis=(0, 1))
        source = (
            f"{count(len(scored), 'tile')} of val as the best run predicts them, where masks hold a class"
        )
    else:
        masks = sorted((workspace / FINAL / MASKS).glob("*.png"))
        pixels = sum((_counted(path) for path in masks), np.zeros(255, dtype=np.int64))[: len(classes)]
        source = f"{count(len(masks), 'tile')} of val as the run predicts them"
    total = int(pixels.sum())
    if not total:
        return None
    return Areas(
        source,
        [
            Area(plain(name), class_colour(index), int(pixels[index]), float(pixels[index] / total))
            for index, name in enumerate(classes)
        ],
    )


def _of_maps(path: Path, num_classes: int) -> tuple[int, NDArray[np.int64]]:
    """Number of tiles, and pixels (K,), of a table of areas."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        columns = [place for place, name in enumerate(head) if name.endswith(_PIXELS)]
        if len(columns) != num_classes:
            raise ValueError(f"it counts {count(len(columns), 'class', 'classes')}, not {num_classes}")
        pixels = [sum(int(row[place]) for row in rows) for place in columns]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(
            f"{path} is no table of areas of this survey's classes ({plain(error)}): run `sonarseg predict` "
            "again, or remove the file."
        ) from error
    return len(rows), np.array(pixels, dtype=np.int64)


def _counted(path: Path) -> NDArray[np.int64]:
    """Pixels (255,) of each class id of a mask, no data left out."""
    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture: run `sonarseg tune loss` again.") from error
    return np.bincount(labels.ravel(), minlength=256)[:255]
