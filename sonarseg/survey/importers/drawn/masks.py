"""Masks of a survey from areas that were drawn in another program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.progress import Progress, silent
from sonarseg.survey.importers.drawn.areas import Drawing
from sonarseg.survey.importers.drawn.coco import read_coco
from sonarseg.survey.importers.drawn.cvat import read_cvat
from sonarseg.survey.importers.drawn.label_studio import read_label_studio
from sonarseg.survey.importers.drawn.labelme import read_labelme
from sonarseg.survey.importers.foreign_names import ClassesNamed, PicturesNamed, plain, quoted
from sonarseg.survey.lists import find_pictures, read_classes
from sonarseg.survey.no_data import read_valid, without_invalid
from sonarseg.survey.pictures import picture_size, write_index_png
from sonarseg.survey.tile_names import unlistable

READERS: dict[str, Callable[[Path, list[str]], Iterator[Drawing]]] = {
    "labelme": read_labelme,
    "cvat": read_cvat,
    "coco": read_coco,
    "label-studio": read_label_studio,
}
# Labels of areas that nobody can tell, as `plain` writes them
_NO_DATA = frozenset({"nodata", "ignore", "unknown", "255"})


@dataclass(frozen=True)
class Drawn:
    """What was found for the tiles of a survey.

    Attributes
    ----------
    classes : tuple of str
        In the order of their ids.
    drawings : dict
        Tile to what was drawn on it, at least one area.
    ids : dict
        Label to class id, 255 for no data.
    pictures : dict
        Tile to picture.
    rest : int
        Class id of pixels in no area, 255 if nothing is known of them.
    missing : tuple of str
        Pictures of the file that the survey does not have.
    empty : tuple of str
        Tiles on which nothing was drawn: they get no mask.
    problems : tuple of str
        A sentence for each fault; with one of them nothing can be written.
    """

    classes: tuple[str, ...]
    drawings: dict[str, Drawing]
    ids: dict[str, int]
    pictures: dict[str, Path]
    rest: int
    missing: tuple[str, ...]
    empty: tuple[str, ...]
    problems: tuple[str, ...]

    def mask(self, tile: str) -> NDArray[np.uint8]:
        """Paint the mask of a tile, uint8 (H, W): each area over those before it."""
        height, width = picture_size(self.pictures[tile])
        mask = np.full((height, width), self.rest, dtype=np.uint8)
        for shape in self.drawings[tile].shapes:
            mask[shape.area.covers(height, width)] = self.ids[shape.label]
        return without_invalid(mask, read_valid(self.pictures[tile]))


def read_drawn(
    source: Path, root: Path, program: str, *, rest: str | None = None, overwrite: bool = False
) -> Drawn:
    """Read what was drawn for a survey; nothing is written.

    Parameters
    ----------
    source : Path
        What the program exported; for labelme also the folder of its files.
    root : Path
        Folder of the survey.
    program : str
        One of `READERS`.
    rest : str or None
        Class of the pixels in no area; by default they are 255, not known.
    overwrite : bool
        Whether masks that are there may be replaced.

    Raises
    ------
    UserError
        If the file or the survey cannot be read, or nothing was drawn on any tile.
    """
    problems: list[str] = []
    classes = read_classes(root, problems)
    pictures = find_pictures(root / "images", problems)
    problems += unlistable(pictures)
    if rest is not None and rest not in classes:
        problems.append(f'--rest "{rest}" is not in {root / "classes.txt"}: use one of {", ".join(classes)}.')
    if problems:
        raise UserError(problems[0])
    found = _Found(classes, pictures, find_pictures(root / "masks", []), overwrite=overwrite)
    for drawing in READERS[program](source, found.problems):
        found.take(drawing)
    if not found.drawings and not found.problems:
        told = (
            f'"{quoted(found.missing[0])}", say, is no picture of the survey'
            if found.missing
            else "it holds no area"
        )
        raise UserError(
            f"{source}: nothing was drawn on a tile of {root} ({told}): name the export of its tiles."
        )
    return Drawn(
        classes,
        dict(sorted(found.drawings.items())),
        found.ids,
        pictures,
        IGNORE if rest is None else classes.index(rest),
        tuple(found.missing),
        tuple(found.empty),
        tuple(found.problems),
    )


def write_drawn(root: Path, drawn: Drawn, *, progress: Progress = silent) -> dict[str, int]:
    """Write masks/NAME.png of each tile that was drawn on, each whole or not at all.

    Returns
    -------
    dict
        Class to its number of pixels, and "no data" to that of pixels that are 255.

    Raises
    ------
    UserError
        If the file has a fault: then nothing is written.
    """
    if drawn.problems:
        raise UserError(drawn.problems[0])
    (root / "masks").mkdir(exist_ok=True)
    masks = find_pictures(root / "masks", [])
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    for number, tile in enumerate(drawn.drawings, start=1):
        mask, path = drawn.mask(tile), root / "masks" / f"{tile}.png"
        write_index_png(path, mask)
        # A tile has one mask: one of another suffix was allowed to be replaced.
        if (other := masks.get(tile, path)) != path:
            other.unlink()
        counts += np.bincount(mask.ravel(), minlength=IGNORE + 1)
        progress("writing masks", number, len(drawn.drawings))
    named = {name: int(counts[index]) for index, name in enumerate(drawn.classes)}
    return named | {"no data": int(counts[IGNORE])}


class _Found:
    """Fits drawings to the tiles and classes of a survey."""

    def __init__(
        self, classes: tuple[str, ...], pictures: dict[str, Path], masks: dict[str, Path], *, overwrite: bool
    ) -> None:
        self._classes, self._pictures = classes, pictures
        self._masks, self._overwrite = masks, overwrite
        self._named = PicturesNamed(pictures)
        self._known = ClassesNamed(classes)
        self.drawings: dict[str, Drawing] = {}
        self.ids: dict[str, int] = {}
        self.missing: list[str] = []
        self.empty: list[str] = []
        self.problems: list[str] = []

    def take(self, drawing: Drawing) -> None:
        """Take a drawing, or note why it cannot be."""
        tile = next((tile for name in drawing.names if (tile := self._named.find(name)) is not None), None)
        if tile is None:
            self.missing.append(next(iter(drawing.names), drawing.place))
        elif not drawing.shapes:
            self.empty.append(tile)
        elif (problem := self._misfit(tile, drawing)) is not None:
            self.problems.append(problem)
        else:
            self.drawings[tile] = drawing
            self._look_up(drawing)

    def _misfit(self, tile: str, drawing: Drawing) -> str | None:
        if (before := self.drawings.get(tile)) is not None:
            return f"{drawing.place}: {before.place} is the tile {tile} already: keep one."
        if tile in self._masks and not self._overwrite:
            return f"{self._masks[tile]} exists and is not overwritten: move it away, or say --overwrite."
        size = picture_size(self._pictures[tile])
        if drawing.size is not None and drawing.size != size:
            return (
                f"{drawing.place} is {drawing.size[1]} x {drawing.size[0]} pixels, but the tile {tile} is "
                f"{size[1]} x {size[0]}: draw on the tiles, or on what "
                "`sonarseg export tiles` writes."
            )
        return None

    def _look_up(self, drawing: Drawing) -> None:
        """Find the class ids of labels."""
        for shape in drawing.shapes:
            if shape.label in self.ids:
                continue
            name = self._known.find(shape.label)
            index = None if name is None else self._classes.index(name)
            if index is None and plain(shape.label) in _NO_DATA:
                index = IGNORE
            if index is None:
                self.problems.append(
                    f'{shape.place}: found the class "{quoted(shape.label)}", expected one of '
                    f"{', '.join(self._classes)} (see classes.txt), or no data."
                )
            # An unknown label is a problem once: with one of them nothing is written.
            self.ids[shape.label] = IGNORE if index is None else index
