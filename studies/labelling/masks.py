"""Masks of a survey while they are being drawn: read, and written whole; a tag tells versions apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.survey.layout import check_mask
from sonarseg.survey.lists import find_pictures
from sonarseg.survey.no_data import read_valid, without_invalid
from sonarseg.survey.pictures import picture_size, read_mask_file, write_index_png

# Tag of a mask that is not there
NONE = "none"


class MaskConflictError(Exception):
    """Somebody else has changed the mask since it was read."""


class Masks:
    """The folder `masks` of a survey.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    images : mapping
        Tile to picture file; the tiles that may have a mask.
    """

    def __init__(self, root: Path, images: Mapping[str, Path]) -> None:
        self._folder = root / "masks"
        self._images = images
        self._lock = threading.Lock()

    def tiles(self) -> set[str]:
        """Tiles that have a mask."""
        return find_pictures(self._folder, []).keys() & self._images.keys()

    def tag(self, tile: str) -> str:
        """What tells this version of a mask from any other."""
        try:
            status = self._path(tile).stat()
        except FileNotFoundError:
            return NONE
        return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"

    def read(self, tile: str, num_classes: int) -> tuple[NDArray[np.uint8], str]:
        """Class ids of a tile, uint8 (H, W), 255 without a class or a mask, and their tag.

        Raises
        ------
        UserError
            If the mask cannot be read, has another size than the tile, or holds an unknown class id.
        """
        with self._lock:
            tag = self.tag(tile)
            size = picture_size(self._images[tile])
            if tag == NONE:
                return np.full(size, IGNORE, dtype=np.uint8), tag
            mask = read_mask_file(self._path(tile))
        check_mask(self._path(tile), mask, size, num_classes)
        return mask, tag

    def write(self, tile: str, ids: bytes, num_classes: int, tag: str) -> str:
        """Write the class ids of a tile, one byte per pixel, row by row; the tag of what was written.

        Raises
        ------
        MaskConflictError
            If the mask is another one by now than that with the `tag`.
        UserError
            If there are not as many bytes as pixels, or an id is unknown.
        """
        path = self._folder / f"{tile}.png"
        height, width = picture_size(self._images[tile])
        if len(ids) != height * width:
            raise UserError(f"The mask of {tile} has {len(ids)} pixels, expected {width} x {height}.")
        mask = np.frombuffer(ids, dtype=np.uint8).reshape(height, width)
        check_mask(path, mask, (height, width), num_classes)
        mask = without_invalid(mask, read_valid(self._images[tile]))
        with self._lock:
            if self.tag(tile) != tag:
                raise MaskConflictError
            if (before := self._path(tile)) != path and before.exists():
                raise UserError(f"{before} is the mask of {tile}: save it as {path.name} to change it here.")
            self._folder.mkdir(exist_ok=True)
            _write_durably(path, mask)
            return self.tag(tile)

    def _path(self, tile: str) -> Path:
        usual = self._folder / f"{tile}.png"
        if usual.is_file():
            return usual
        suffixes = (".tif", ".tiff", ".PNG", ".TIF", ".TIFF")
        others = (self._folder / f"{tile}{suffix}" for suffix in suffixes)
        return next((path for path in others if path.is_file()), usual)


def _write_durably(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write under a hidden name, see that it is on the disk, and move it into place."""
    waiting = path.with_name(f".{path.stem}.drawn.png")
    try:
        write_index_png(waiting, mask)
        with waiting.open("rb") as file:
            os.fsync(file.fileno())
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)
