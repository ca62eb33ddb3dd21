"""One scaling to 0..255 for a whole survey, so that a grey level means the same in every tile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sonarseg.errors import UserError
from sonarseg.survey.pictures import Picture, read_picture

if TYPE_CHECKING:
    from sonarseg.survey.layout import Survey

# Tiles, and pixels of each, that the scaling of 16-bit surveys is found from
SAMPLE = 200
PIXELS = 4096
PERCENTILES = (0.5, 99.5)


class GreyScaling(BaseModel):
    """Linear scaling from `low`..`high` to 0..255.

    Attributes
    ----------
    low, high : float
        Values that become 0 and 255.
    channels : int
        1 (grey) or 3 (RGB).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 0.0
    high: float = 255.0
    channels: Literal[1, 3] = 1

    def apply(self, image: Picture) -> NDArray[np.uint8]:
        """Scale a picture, (H, W) or (H, W, 3), to uint8 (H, W) for one channel, (H, W, 3) for three."""
        array: NDArray[np.generic] = image
        if self.channels == 1 and array.ndim == 3:
            array = array[..., 0] if is_grey(image) else image.astype(np.float32).mean(axis=2)
        elif self.channels == 3 and array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
        if array.dtype == np.uint8 and (self.low, self.high) == (0.0, 255.0):
            return np.ascontiguousarray(array, dtype=np.uint8)
        scaled = (array.astype(np.float32) - self.low) * (255.0 / max(self.high - self.low, 1e-6))
        return scaled.round().clip(0, 255).astype(np.uint8)


def is_grey(image: Picture) -> bool:
    """Whether a picture has one channel, or three that are the same."""
    if image.ndim == 2:
        return True
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())


def fit_scaling(survey: Survey) -> GreyScaling:
    """Find a survey's scaling from a bounded sample of its train tiles.

    8-bit tiles stay as they are; 16-bit tiles are scaled between their 0.5 and 99.5 percentiles.

    Raises
    ------
    UserError
        Where the train split is empty, or holds 8-bit and 16-bit tiles.
    """
    tiles = survey.splits["train"]
    if not tiles:
        raise UserError(f"{survey.root}: the train split is empty: list its tiles in splits/train.txt.")
    return scaling_of([survey.image_path(tile) for tile in tiles])


def scaling_of(pictures: Sequence[Path]) -> GreyScaling:
    """Find the scaling of picture files from a bounded sample of them; see `fit_scaling`.

    Raises
    ------
    UserError
        Where 8-bit and 16-bit pictures are mixed.
    """
    count = len(pictures)
    chosen = [pictures[i] for i in np.linspace(0, count - 1, min(SAMPLE, count)).astype(int)]
    generator = np.random.default_rng(0)
    grey = True
    depths: dict[int, Path] = {}
    values: list[NDArray[np.generic]] = []
    for path in chosen:
        picture = read_picture(path)
        grey = grey and is_grey(picture)
        depths.setdefault(picture.itemsize * 8, path)
        if picture.dtype == np.uint16:
            # Drawn at random: a regular step through the rows would meet the same columns again and again.
            flat = picture.ravel()
            values.append(flat[generator.integers(flat.size, size=min(PIXELS, flat.size))])
    if len(depths) > 1:
        raise UserError(
            f"{depths[8]} has 8 bits but {depths[16]} has 16: "
            "save all tiles alike, so that a grey level means the same everywhere."
        )
    channels: Literal[1, 3] = 1 if grey else 3
    if not values:
        return GreyScaling(channels=channels)
    low, high = np.percentile(np.concatenate(values), PERCENTILES)
    return GreyScaling(low=float(low), high=float(max(high, low + 1)), channels=channels)
