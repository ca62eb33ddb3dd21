"""Pictures of tiles as a browser shows them: whole, and as thumbnails that are kept in bounded memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonarseg.survey.no_data import read_valid
from sonarseg.survey.scaling import GreyScaling, scaling_of

THUMBNAIL = 112
# Bytes of thumbnails in memory: some ten thousand of them
_KEPT = 64 * 2**20


class TilePictures:
    """Tiles scaled to 8 bits, all alike.

    Parameters
    ----------
    images : mapping
        Tile to picture file.
    """

    def __init__(self, images: Mapping[str, Path], kept: int = _KEPT) -> None:
        self._images = images
        self._kept = kept
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    @cached_property
    def _found(self) -> GreyScaling:
        return scaling_of(list(self._images.values()))

    @property
    def scaling(self) -> GreyScaling:
        """Scaling of the survey's grey levels; UserError if the tiles have several depths."""
        with self._lock:
            return self._found

    def grey(self, tile: str) -> NDArray[np.uint8]:
        """A tile scaled to 8 bits, uint8 (H, W) or (H, W, 3); UserError if it cannot be read."""
        return self.scaling.read(self._images[tile])

    def valid(self, tile: str) -> NDArray[np.bool_] | None:
        """Which pixels have data, bool (H, W), or None if all have."""
        return read_valid(self._images[tile])

    def png(self, tile: str) -> bytes:
        """A tile as PNG; pixels without data are transparent."""
        picture = self._shown(tile)
        return _encoded(picture, "PNG", compress_level=1)

    def thumbnail(self, tile: str) -> bytes:
        """A tile as a WebP picture of at most `THUMBNAIL` pixels on each side."""
        with self._lock:
            if (kept := self._thumbnails.get(tile)) is not None:
                self._thumbnails.move_to_end(tile)
                return kept
        picture = self._shown(tile)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        made = _encoded(
            picture.convert("RGBA" if "A" in picture.mode else "RGB"), "WEBP", quality=70, method=0
        )
        with self._lock:
            if tile not in self._thumbnails:
                self._bytes += len(made)
            self._thumbnails[tile] = made
            while self._bytes > self._kept and len(self._thumbnails) > 1:
                self._bytes -= len(self._thumbnails.popitem(last=False)[1])
        return made

    def _shown(self, tile: str) -> Image.Image:
        grey, valid = self.grey(tile), self.valid(tile)
        if valid is None:
            return Image.fromarray(grey)
        alpha = np.where(valid, np.uint8(255), np.uint8(0))
        return Image.fromarray(np.dstack([grey, alpha]))


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, format=kind, **options)
        return file.getvalue()
