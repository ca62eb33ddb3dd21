"""The scores and the picture of one tile, before it is refined and as every dense CRF engine takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredTile:
    """A tile before it is refined.

    Attributes
    ----------
    scores : float16 or float32 (K, H, W)
        Class scores in 0..1.
    image : uint8 (H, W) or (H, W, 3)
        The tile after the survey's scaling.
    shown : bool (K,) or None
        Classes that the tile may hold, None if all may show.
    valid : bool (H, W) or None
        Pixels with data, None if all have them.
    """

    scores: NDArray[np.floating]
    image: NDArray[np.uint8]
    shown: NDArray[np.bool_] | None = None
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class CrfTile:
    """One tile, its classes cut down to those that it may hold.

    Attributes
    ----------
    scores : float16 or float32 (k, H, W)
        Class scores in 0..1 of the k >= 2 classes that the tile may hold.
    guide : uint8 (H, W) or (H, W, 3)
        The image that the bilateral kernel sees, filtered already.
    background : int or None
        The row of `scores` that is not read: the class gets the constant
        `CrfParameters.background_score`, or the default for None.
    valid : bool (H, W) or None
        Pixels with data, None if all have them. The unary of the others prefers no class.
    """

    scores: NDArray[np.float16] | NDArray[np.float32]
    guide: NDArray[np.uint8]
    background: int | None = None
    valid: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.guide.shape[0], self.guide.shape[1]
